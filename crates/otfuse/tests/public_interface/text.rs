//! Items in one line each.

use std::collections::BTreeSet;

use syn::punctuated::Punctuated;
use syn::{Attribute, FnArg, Item, Pat, Signature, Token, Type, parse_quote};

/// What is derived, and whether more may come.
pub fn traits(attributes: &[Attribute]) -> String {
    let mut derived = BTreeSet::new();
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("derive")) {
        let paths = attribute.parse_args_with(Punctuated::<syn::Path, Token![,]>::parse_terminated).expect("derives");
        derived.extend(paths.iter().filter_map(|path| path.segments.last()).map(|last| last.ident.to_string()));
    }
    let more = attributes.iter().any(|attribute| attribute.path().is_ident("non_exhaustive"));
    let derived: String = derived.iter().map(|name| format!(", {name}")).collect();
    format!("{}{derived}", if more { ", non-exhaustive" } else { "" })
}

/// A signature, with the path in place of the name.
pub fn signature(signature: &Signature, path: &str) -> String {
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

pub fn type_text(shown: &Type) -> String {
    code(parse_quote!(type X = #shown;)).trim_start_matches("type X = ").trim_end_matches(';').to_owned()
}

/// An item in one line.
pub fn code(item: Item) -> String {
    let text = prettyplease::unparse(&syn::File { shebang: None, attrs: Vec::new(), items: vec![item] });
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.replace("( ", "(").replace(", )", ")").replace("< ", "<").replace(", >", ">")
}
