//! What a store says when it fails, in one line and without secrets.

use std::error::Error;

/// Why a request failed: what the server's answer says, else the innermost cause. Addresses lose what stands behind `?`,
/// where some stores have their signatures.
pub fn store_reason(error: &object_store::Error) -> String {
    let text = error.to_string();
    let retries = between(&text, ", after ", " retries").filter(|count| count.bytes().all(|b| b.is_ascii_digit()));
    let reason = match (between(&text, "<Code>", "</Code>"), between(&text, "<Message>", "</Message>")) {
        (Some(code), Some(message)) => format!("{message} ({code})"),
        (Some(code), None) => code.to_owned(),
        _ => innermost(error),
    };
    let reason = without_queries(reason.lines().next().unwrap_or_default());
    match retries {
        Some(count) => format!("{reason}, after {count} retries"),
        None => reason,
    }
}

/// The error of a remote store below another error: it could not be reached, or refused. What the local file system says,
/// that a file is missing, and that it is shorter than it should be are about the file, not about the store.
pub fn store_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a object_store::Error> {
    use object_store::Error as StoreError;
    let mut found = None;
    let mut next = Some(error);
    while let Some(error) = next {
        found = error.downcast_ref::<StoreError>().or(found);
        next = error.source();
    }
    found.filter(|error| match error {
        StoreError::NotFound { .. } => false,
        StoreError::Generic { store, .. } => !["LocalFileSystem", "InMemory", "cache"].contains(store),
        _ => true,
    })
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    let rest = &text[text.find(start)? + start.len()..];
    Some(&rest[..rest.find(end)?])
}

fn innermost(error: &object_store::Error) -> String {
    let mut deepest: &(dyn Error + 'static) = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}

fn without_queries(text: &str) -> String {
    let words = text.split(' ').map(|word| match word.split_once('?') {
        Some((address, _)) if address.contains("://") => address,
        _ => word,
    });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generic(text: &str) -> object_store::Error {
        object_store::Error::Generic { store: "S3", source: text.to_owned().into() }
    }

    #[test]
    fn the_answer_of_the_server_is_put_in_a_line() {
        let body = "Error performing PUT http://h/b/k in 1s, after 3 retries, max_retries: 3 - Server returned: \
                    <Error><Code>NoSuchBucket</Code><Message>The bucket does not exist</Message><Sig>abc</Sig></Error>";
        assert_eq!(store_reason(&generic(body)), "The bucket does not exist (NoSuchBucket), after 3 retries");
    }

    #[test]
    fn signatures_in_addresses_are_cut_off() {
        let text = "could not reach https://a.b/c?sig=secret now\nsecond line";
        assert_eq!(store_reason(&generic(text)), "could not reach https://a.b/c now");
    }
}
