//! Lists in pages.
//!
//! A page token is the name after which the page begins, so a list that changes between two pages neither repeats nor
//! loses what was there all the time.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use serde::Deserialize;

use crate::error::ApiError;

/// The most that one page holds.
const MAX_PAGE: usize = 10_000;

/// Which page is wanted; without a token and a size all of the list is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Page {
    page_token: Option<String>,
    page_size: Option<usize>,
}

impl Page {
    /// The page of names that are in their order, and the token of the next one.
    ///
    /// # Errors
    /// 400 for a token that is none, and for an empty page.
    pub(crate) fn cut<T>(
        &self,
        items: impl Iterator<Item = T>,
        name: impl Fn(&T) -> &str,
    ) -> Result<(Vec<T>, Option<String>), ApiError> {
        let token = self.page_token.as_deref().filter(|token| !token.is_empty());
        let after = match token {
            Some(token) => Some(decode(token).ok_or_else(|| ApiError::bad_request("the page token is not valid"))?),
            None => None,
        };
        if self.page_size == Some(0) {
            return Err(ApiError::bad_request("a page has at least one entry"));
        }
        // A client that knows nothing of pages gets everything.
        let size = match (&self.page_token, self.page_size) {
            (_, Some(size)) => size.min(MAX_PAGE),
            (Some(_), None) => MAX_PAGE,
            (None, None) => usize::MAX,
        };
        let mut rest = items.filter(|item| after.as_deref().is_none_or(|after| name(item) > after));
        let page: Vec<T> = rest.by_ref().take(size).collect();
        let more = rest.next().is_some();
        let next = page.last().filter(|_| more).map(|last| BASE64.encode(name(last)));
        Ok((page, next))
    }
}

fn decode(token: &str) -> Option<String> {
    String::from_utf8(BASE64.decode(token).ok()?).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn page(token: Option<&str>, size: Option<usize>) -> (Vec<&'static str>, Option<String>) {
        let page = Page { page_token: token.map(str::to_owned), page_size: size };
        page.cut(["a", "b", "c", "d", "e"].into_iter(), |name| name).unwrap()
    }

    #[test]
    fn pages_follow_each_other() {
        assert_eq!(page(None, None), (vec!["a", "b", "c", "d", "e"], None));
        assert_eq!(page(Some(""), None), (vec!["a", "b", "c", "d", "e"], None));
        let (first, token) = page(Some(""), Some(2));
        assert_eq!(first, ["a", "b"]);
        let (second, token) = page(token.as_deref(), Some(2));
        assert_eq!(second, ["c", "d"]);
        assert_eq!(page(token.as_deref(), Some(2)), (vec!["e"], None));
        assert_eq!(page(None, Some(5)), (vec!["a", "b", "c", "d", "e"], None), "no empty page at the end");
    }

    #[test]
    fn nonsense_is_refused() {
        for page in
            [Page { page_token: Some("%".to_owned()), page_size: None }, Page { page_token: None, page_size: Some(0) }]
        {
            assert!(page.cut(["a"].into_iter(), |name| name).is_err());
        }
    }
}
