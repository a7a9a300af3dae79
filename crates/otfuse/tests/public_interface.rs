//! The public interface is the one that `public_interface.txt` lists: whoever changes it sees so. `OTFUSE_BLESS=1` accepts
//! what is there now. The list is read off the source, so that it is the same whatever features are on.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use syn::parse::ParseStream;
use syn::punctuated::Punctuated;
use syn::{
    Attribute, Fields, FnArg, Ident, ImplItem, Item, ItemImpl, LitStr, Meta, Pat, Signature, Token, TraitItem, Type,
    UseTree, Visibility, parse_quote,
};

/// The most lines of a difference that are shown.
const SHOWN: usize = 40;

#[test]
fn the_interface_is_the_one_that_is_committed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = Module::read(&folder.join("src/lib.rs"), &folder.join("src"));
    let mut interface = Interface::default();
    interface.gather(&root);
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

/// A file of the source, with those below it.
struct Module {
    items: Vec<Item>,
    children: BTreeMap<String, Module>,
}

impl Module {
    /// `folder` is where the files of modules in it lie.
    fn read(file: &Path, folder: &Path) -> Self {
        let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let parsed = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let items: Vec<Item> = parsed.items.into_iter().flat_map(expanded).collect();
        let mut children = BTreeMap::new();
        for item in &items {
            if let Item::Mod(inner) = item
                && inner.content.is_none()
            {
                let name = inner.ident.to_string();
                let (beside, within) = (folder.join(format!("{name}.rs")), folder.join(&name));
                let file = if beside.exists() { beside } else { within.join("mod.rs") };
                children.insert(name, Module::read(&file, &within));
            }
        }
        Self { items, children }
    }

    /// The item of a path from here, and the module that it stands in; none if it comes from another crate.
    fn find(&self, path: &[String]) -> Option<(&Self, &Item)> {
        match path {
            [] => None,
            [name] => self
                .items
                .iter()
                .find(|item| ident(item).as_ref() == Some(name))
                .map(|item| (self, item))
                .or_else(|| {
                    self.reexports().into_iter().find(|(_, alias)| alias == name).and_then(|(path, _)| self.find(&path))
                }),
            [first, rest @ ..] => self.children.get(first)?.find(rest),
        }
    }

    /// Paths that are made public here, each with its new name.
    fn reexports(&self) -> Vec<(Vec<String>, String)> {
        let uses = self.items.iter().filter_map(|item| match item {
            Item::Use(item) if is_public(&item.vis) => Some(flat(&item.tree, &[])),
            _ => None,
        });
        uses.flatten().collect()
    }
}

#[derive(Default)]
struct Interface<'a> {
    lines: BTreeSet<String>,
    /// All impl blocks, each with its file.
    impls: Vec<(&'a ItemImpl, &'a Module)>,
    private_traits: BTreeSet<String>,
}

impl<'a> Interface<'a> {
    fn gather(&mut self, module: &'a Module) {
        for item in &module.items {
            match item {
                Item::Impl(block) => self.impls.push((block, module)),
                Item::Trait(item) if !is_public(&item.vis) => {
                    self.private_traits.insert(item.ident.to_string());
                }
                _ => {}
            }
        }
        module.children.values().for_each(|child| self.gather(child));
    }

    fn module(&mut self, module: &Module, prefix: &str, inherited: &str) {
        for item in &module.items {
            let Some((attributes, visibility)) = head(item) else { continue };
            if !is_public(visibility) {
                continue;
            }
            let own = feature(attributes);
            let feature = if own.is_empty() { inherited } else { own.as_str() };
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
                self.add(format!("{path}: enum{}", traits(&item.attrs)), feature);
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

    /// Methods of a type, and the traits that it has.
    fn impls_of(&mut self, module: &Module, name: &str, path: &str, feature: &str) {
        let mut found = Vec::new();
        for (block, file) in &self.impls {
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
                    found.push(format!("{path}: impl {}", type_text(&parse_quote!(#of_trait))));
                }
                continue;
            }
            for member in &block.items {
                match member {
                    ImplItem::Fn(function) if is_public(&function.vis) => found.push(signature(&function.sig, path)),
                    ImplItem::Const(constant) if is_public(&constant.vis) => {
                        found.push(format!("{path}::{}: const {}", constant.ident, type_text(&constant.ty)));
                    }
                    _ => {}
                }
            }
        }
        found.into_iter().for_each(|line| self.add(line, feature));
    }
}

/// What a macro of the crate makes, as far as it is public; nothing for what is only there in tests.
fn expanded(item: Item) -> Vec<Item> {
    if head(&item).is_some_and(|(attributes, _)| attributes.iter().any(|it| it.meta == parse_quote!(cfg(test)))) {
        return Vec::new();
    }
    let Item::Macro(call) = &item else { return vec![item] };
    let made = match call.mac.path.segments.last().map(|last| last.ident.to_string()).as_deref() {
        Some("choices") => call.mac.parse_body_with(choices),
        Some("options") => call.mac.parse_body_with(options),
        _ => return Vec::new(),
    };
    made.unwrap_or_else(|error| panic!("{error}"))
}

/// An enum of named values, as the macro `choices` makes it.
fn choices(input: ParseStream<'_>) -> syn::Result<Vec<Item>> {
    Attribute::parse_outer(input)?;
    let name: Ident = input.parse()?;
    let variants;
    syn::braced!(variants in input);
    let variant = |input: ParseStream<'_>| -> syn::Result<Ident> {
        Attribute::parse_outer(input)?;
        let variant = input.parse()?;
        input.parse::<Token![=]>()?;
        input.parse::<LitStr>()?;
        Ok(variant)
    };
    let variants = variants.parse_terminated(variant, Token![,])?.into_iter();
    let derives: Attribute = parse_quote!(#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]);
    let mut made: syn::ItemEnum = parse_quote!(#derives #[non_exhaustive] pub enum #name {});
    made.variants = variants.map(|variant| -> syn::Variant { parse_quote!(#variant) }).collect();
    Ok(vec![made.into(), parse_quote!(impl Choice for #name {}), parse_quote!(impl Display for #name {})])
}

/// A struct of options, as the macro `options` makes it.
fn options(input: ParseStream<'_>) -> syn::Result<Vec<Item>> {
    Attribute::parse_outer(input)?;
    let name: Ident = input.parse()?;
    let fields;
    syn::braced!(fields in input);
    let field = |input: ParseStream<'_>| -> syn::Result<syn::FieldsNamed> {
        Attribute::parse_outer(input)?;
        let field: Ident = input.parse()?;
        let key;
        syn::parenthesized!(key in input);
        key.parse::<LitStr>()?;
        input.parse::<Token![:]>()?;
        let of: Type = input.parse()?;
        Ok(parse_quote!({ pub #field: Option<#of> }))
    };
    let fields = fields.parse_terminated(field, Token![,])?.into_iter().flat_map(|field| field.named);
    let derives: Attribute = parse_quote!(#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]);
    let mut made: syn::ItemStruct = parse_quote!(#derives pub struct #name {});
    made.fields = Fields::Named(syn::FieldsNamed { brace_token: Default::default(), named: fields.collect() });
    let methods = parse_quote!(impl #name {
        pub const KEYS: &'static [&'static str] = &[];
        pub fn or(self, other: Self) -> Self {}
    });
    Ok(vec![made.into(), methods])
}

fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

/// Attributes and visibility of what can be public.
fn head(item: &Item) -> Option<(&[Attribute], &Visibility)> {
    Some(match item {
        Item::Const(item) => (&item.attrs, &item.vis),
        Item::Enum(item) => (&item.attrs, &item.vis),
        Item::Fn(item) => (&item.attrs, &item.vis),
        Item::Mod(item) => (&item.attrs, &item.vis),
        Item::Struct(item) => (&item.attrs, &item.vis),
        Item::Trait(item) => (&item.attrs, &item.vis),
        Item::Type(item) => (&item.attrs, &item.vis),
        Item::Use(item) => (&item.attrs, &item.vis),
        _ => return None,
    })
}

/// The name of what can be made public under another path.
fn ident(item: &Item) -> Option<String> {
    let ident = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::Type(item) => &item.ident,
        _ => return None,
    };
    Some(ident.to_string())
}

/// The feature that something is there with; nothing where it always is.
fn feature(attributes: &[Attribute]) -> String {
    let cfg = attributes.iter().find(|attribute| attribute.path().is_ident("cfg"));
    cfg.map_or_else(String::new, |cfg| match &cfg.meta {
        Meta::List(list) => list.tokens.to_string(),
        _ => String::new(),
    })
}

/// What is derived, and whether more may come.
fn traits(attributes: &[Attribute]) -> String {
    let mut derived = BTreeSet::new();
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("derive")) {
        let paths = attribute.parse_args_with(Punctuated::<syn::Path, Token![,]>::parse_terminated).expect("derives");
        derived.extend(paths.iter().filter_map(|path| path.segments.last()).map(|last| last.ident.to_string()));
    }
    let more = attributes.iter().any(|attribute| attribute.path().is_ident("non_exhaustive"));
    let derived: String = derived.iter().map(|name| format!(", {name}")).collect();
    format!("{}{derived}", if more { ", non-exhaustive" } else { "" })
}

/// The paths of a `use`, each with the name that it gets.
fn flat(tree: &UseTree, before: &[String]) -> Vec<(Vec<String>, String)> {
    let path = |ident: &Ident| [before, &[ident.to_string()]].concat();
    match tree {
        UseTree::Path(inner) if inner.ident == "self" || inner.ident == "crate" => flat(&inner.tree, before),
        UseTree::Path(inner) => flat(&inner.tree, &path(&inner.ident)),
        UseTree::Name(name) => vec![(path(&name.ident), name.ident.to_string())],
        UseTree::Rename(name) => vec![(path(&name.ident), name.rename.to_string())],
        UseTree::Group(group) => group.items.iter().flat_map(|tree| flat(tree, before)).collect(),
        UseTree::Glob(_) => panic!("{}: everything at once is no interface", before.join("::")),
    }
}

/// A signature, with the path in place of the name.
fn signature(signature: &Signature, path: &str) -> String {
    let (mut shown, name) = (signature.clone(), signature.ident.to_string());
    for argument in &mut shown.inputs {
        match argument {
            FnArg::Receiver(receiver) if receiver.reference.is_none() => receiver.mutability = None,
            FnArg::Typed(typed) => {
                if let Pat::Ident(ident) = &mut *typed.pat {
                    ident.mutability = None;
                }
            }
            FnArg::Receiver(_) => {}
        }
    }
    let code = code(parse_quote!(#shown {}));
    code.trim_end_matches(" {}").replacen(&format!("fn {name}"), &format!("{path}::{name}"), 1)
}

fn type_text(shown: &Type) -> String {
    code(parse_quote!(type X = #shown;)).trim_start_matches("type X = ").trim_end_matches(';').to_owned()
}

/// An item in one line.
fn code(item: Item) -> String {
    let text = prettyplease::unparse(&syn::File { shebang: None, attrs: Vec::new(), items: vec![item] });
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.replace("( ", "(").replace(", )", ")").replace("< ", "<").replace(", >", ">")
}
