//! The public interface is the one that `public_interface.txt` lists: whoever changes it sees so. `OTFUSE_BLESS=1` accepts
//! what is there now. The list is read off the source, so that it is the same whatever features are on.

mod macros;
mod source;
mod text;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use syn::{Fields, ImplItem, Item, ItemImpl, TraitItem, Type, parse_quote};

use crate::source::{Module, features, flat, head, ident, is_public};
use crate::text::{code, signature, traits, type_text};

/// The most lines of a difference that are shown.
const SHOWN: usize = 40;

#[test]
fn the_interface_is_the_one_that_is_committed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = Module::read(&folder.join("src/lib.rs"), &folder.join("src"));
    let mut interface = Interface::default();
    interface.gather(&root, "");
    interface.module(&root, "", "");
    let path = folder.join("tests/public_interface.txt");
    if std::env::var_os("OTFUSE_BLESS").is_some() {
        let text: String = interface.lines.iter().map(|line| format!("{line}\n")).collect();
        fs::write(&path, text).expect("public_interface.txt");
    }
    let committed = fs::read_to_string(&path).expect("public_interface.txt, which OTFUSE_BLESS=1 writes");
    let committed: BTreeSet<String> = committed.lines().map(str::to_owned).collect();
    let gone = committed.difference(&interface.lines).map(|line| format!("- {line}"));
    let new = interface.lines.difference(&committed).map(|line| format!("+ {line}"));
    let changes: Vec<String> = gone.chain(new).collect();
    assert!(
        changes.is_empty(),
        "the public interface is another one, by {} lines:\n{}\nif that is meant: \
         OTFUSE_BLESS=1 cargo test --release -p otfuse --test public_interface",
        changes.len(),
        changes[..changes.len().min(SHOWN)].join("\n")
    );
}

#[derive(Default)]
struct Interface<'a> {
    lines: BTreeSet<String>,
    /// All impl blocks, each with its file and the feature that it is there with.
    impls: Vec<(&'a ItemImpl, &'a Module, String)>,
    private_traits: BTreeSet<String>,
}

impl<'a> Interface<'a> {
    fn gather(&mut self, module: &'a Module, inherited: &str) {
        for item in &module.items {
            match item {
                Item::Impl(block) => self.impls.push((block, module, features(&block.attrs, inherited))),
                Item::Mod(inner) => {
                    if let Some(child) = module.children.get(&inner.ident.to_string()) {
                        self.gather(child, &features(&inner.attrs, inherited));
                    }
                }
                Item::Trait(item) if !is_public(&item.vis) => {
                    self.private_traits.insert(item.ident.to_string());
                }
                _ => {}
            }
        }
    }

    fn module(&mut self, module: &Module, prefix: &str, inherited: &str) {
        for item in &module.items {
            let Some((attributes, visibility)) = head(item) else { continue };
            if !is_public(visibility) {
                continue;
            }
            let feature = &features(attributes, inherited);
            match item {
                Item::Mod(inner) => {
                    let path = format!("{prefix}{}", inner.ident);
                    self.add(format!("{path}: mod"), feature);
                    self.module(&module.children[&inner.ident.to_string()], &format!("{path}::"), feature);
                }
                Item::Use(item) => {
                    for (path, alias) in flat(&item.tree, &[]) {
                        match module.find(&path) {
                            Some((found, item)) => self.item(found, item, prefix, feature),
                            None => self.add(format!("{prefix}{alias}: use {}", path.join("::")), feature),
                        }
                    }
                }
                item => self.item(module, item, prefix, feature),
            }
        }
    }

    fn add(&mut self, line: String, feature: &str) {
        self.lines.insert(if feature.is_empty() { line } else { format!("{line}   [{feature}]") });
    }

    fn item(&mut self, module: &Module, item: &Item, prefix: &str, feature: &str) {
        let Some(name) = ident(item) else { return };
        let path = format!("{prefix}{name}");
        match item {
            Item::Struct(item) => {
                let (generics, hidden) = (&item.generics, item.fields.iter().any(|field| !is_public(&field.vis)));
                let shown = code(parse_quote!(struct X #generics;)).replace("struct X", "struct").replace(';', "");
                let hidden = if hidden { ", private fields" } else { "" };
                self.add(format!("{path}: {shown}{hidden}{}", traits(&item.attrs)), feature);
                for (at, field) in item.fields.iter().enumerate().filter(|(_, field)| is_public(&field.vis)) {
                    let name = field.ident.as_ref().map_or_else(|| at.to_string(), ToString::to_string);
                    self.add(format!("{path}.{name}: {}", type_text(&field.ty)), feature);
                }
                self.impls_of(module, &name, &path, feature);
            }
            Item::Enum(item) => {
                let generics = &item.generics;
                let shown = code(parse_quote!(enum X #generics {})).replace("enum X", "enum").replace(" {}", "");
                self.add(format!("{path}: {shown}{}", traits(&item.attrs)), feature);
                for variant in &item.variants {
                    let mut variant = variant.clone();
                    variant.attrs.clear();
                    match &mut variant.fields {
                        Fields::Unit => {}
                        fields => fields.iter_mut().for_each(|field| field.attrs.clear()),
                    }
                    let shown = code(parse_quote!(enum X { #variant }));
                    let shown = shown.trim_start_matches("enum X {").trim_end_matches('}').trim().trim_end_matches(',');
                    self.add(format!("{path}::{shown}"), feature);
                }
                self.impls_of(module, &name, &path, feature);
            }
            Item::Trait(item) => {
                let bounds = &item.supertraits;
                let shown = code(parse_quote!(trait X: #bounds {})).replace("trait X", "trait").replace(" {}", "");
                self.add(format!("{path}: {shown}"), feature);
                for line in self.blanket(&name) {
                    self.add(format!("{path}: {line}"), feature);
                }
                for member in &item.items {
                    let provided = match member {
                        TraitItem::Fn(function) => function.default.is_some(),
                        TraitItem::Const(constant) => constant.default.is_some(),
                        _ => false,
                    };
                    let shown = match member {
                        TraitItem::Fn(function) => signature(&function.sig, &path),
                        TraitItem::Const(constant) => {
                            format!("{path}::{}: {}", constant.ident, type_text(&constant.ty))
                        }
                        other => panic!("{path}: {other:?} is not listed yet"),
                    };
                    self.add(format!("{shown}{}", if provided { ", provided" } else { "" }), feature);
                }
            }
            Item::Fn(function) => {
                let shown = signature(&function.sig, "");
                self.add(format!("{prefix}{}", shown.trim_start_matches("::")), feature);
            }
            Item::Const(constant) => self.add(format!("{path}: const {}", type_text(&constant.ty)), feature),
            Item::Type(alias) => {
                let shown = code(Item::Type(syn::ItemType { attrs: Vec::new(), ..alias.clone() }));
                self.add(format!("{path}: {}", shown.trim_start_matches("pub ").trim_end_matches(';')), feature);
            }
            other => panic!("{path}: {other:?} is not listed yet"),
        }
    }

    /// The implementations of a trait for all types of a kind.
    fn blanket(&self, name: &str) -> Vec<String> {
        let mut found = Vec::new();
        for (block, ..) in &self.impls {
            let Some((_, of, _)) = &block.trait_ else { continue };
            let of_it = of.segments.last().is_some_and(|last| last.ident == name);
            if of_it && block.generics.type_params().next().is_some() {
                let (generics, of_type) = (&block.generics, &block.self_ty);
                found.push(code(parse_quote!(impl #generics #of_type {})).replace(" {}", ""));
            }
        }
        found
    }

    /// Methods of a type, and the traits that it has.
    fn impls_of(&mut self, module: &Module, name: &str, path: &str, feature: &str) {
        let mut found = Vec::new();
        for (block, file, with) in &self.impls {
            let Type::Path(of) = &*block.self_ty else { continue };
            let is_it = of.path.segments.last().is_some_and(|last| last.ident == name);
            // A type of the same name elsewhere is another one.
            let is_other =
                !std::ptr::eq(*file, module) && file.items.iter().any(|item| ident(item).as_deref() == Some(name));
            if !is_it || is_other {
                continue;
            }
            if let Some((_, of_trait, _)) = &block.trait_ {
                let is_private = |last: &syn::PathSegment| self.private_traits.contains(&last.ident.to_string());
                if !of_trait.segments.last().is_some_and(is_private) {
                    let line = format!("{path}: impl {}", type_text(&parse_quote!(#of_trait)));
                    found.push((line, if with.is_empty() { feature.to_owned() } else { with.clone() }));
                }
                continue;
            }
            for member in &block.items {
                let (line, attributes) = match member {
                    ImplItem::Fn(function) if is_public(&function.vis) => {
                        (signature(&function.sig, path), &function.attrs)
                    }
                    ImplItem::Const(constant) if is_public(&constant.vis) => {
                        let line = format!("{path}::{}: const {}", constant.ident, type_text(&constant.ty));
                        (line, &constant.attrs)
                    }
                    _ => continue,
                };
                found.push((line, features(attributes, feature)));
            }
        }
        found.into_iter().for_each(|(line, feature)| self.add(line, &feature));
    }
}
