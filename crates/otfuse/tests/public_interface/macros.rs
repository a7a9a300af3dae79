//! What the macros of the crate make.

use syn::parse::ParseStream;
use syn::{Attribute, Fields, Ident, Item, LitStr, Token, Type, parse_quote};

use crate::source::head;

/// What a macro of the crate makes, as far as it is public; nothing for what is only there in tests.
pub fn expanded(item: Item) -> Vec<Item> {
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
        while input.parse::<Option<Token![|]>>()?.is_some() {
            input.parse::<LitStr>()?;
        }
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
