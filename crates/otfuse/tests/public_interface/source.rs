//! The source as far as it can be public: modules, items, where names come from.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use syn::{Attribute, Ident, Item, Meta, UseTree, Visibility};

use crate::macros::expanded;

/// A file of the source, with those below it.
pub struct Module {
    pub items: Vec<Item>,
    pub children: BTreeMap<String, Module>,
}

impl Module {
    /// `folder` is where the files of modules in it lie.
    pub fn read(file: &Path, folder: &Path) -> Self {
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
    pub fn find(&self, path: &[String]) -> Option<(&Self, &Item)> {
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

pub fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

/// Attributes and visibility of what can be public.
pub fn head(item: &Item) -> Option<(&[Attribute], &Visibility)> {
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
pub fn ident(item: &Item) -> Option<String> {
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

/// The features that something is there with: those of what it is in, and its own.
pub fn features(attributes: &[Attribute], inherited: &str) -> String {
    let cfg = attributes.iter().find(|attribute| attribute.path().is_ident("cfg"));
    match cfg.map(|cfg| &cfg.meta) {
        Some(Meta::List(list)) if inherited.is_empty() => list.tokens.to_string(),
        Some(Meta::List(list)) => format!("{inherited}, {}", list.tokens),
        _ => inherited.to_owned(),
    }
}

/// The paths of a `use`, each with the name that it gets.
pub fn flat(tree: &UseTree, before: &[String]) -> Vec<(Vec<String>, String)> {
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
