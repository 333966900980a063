//! What somebody asks to have explained.

use std::fmt;
use std::str::FromStr;

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, Uri};

use super::writes::{Refused, error};
use crate::positions::Flaw;
use crate::prefix::Prefix;
use crate::proxy::MOST_FIELDS;

/// What is asked.
#[derive(Clone, Debug)]
pub struct Question {
    /// A host name.
    pub name: String,
    /// The client's address or network.
    pub client: Prefix,
    /// The DNS type: A, AAAA or HTTPS. Without it and without a method: A.
    pub record_type: Option<String>,
    /// The HTTP method: then the HTTP decision is explained.
    pub method: Option<String>,
    /// A token that the client carries: then too.
    pub token: Option<String>,
    /// The path and the query of the request: then too.
    pub path: Option<String>,
    /// Fields of the request, by which residency and the home of a write may go: then too.
    pub fields: Vec<Field>,
}

/// A field of a request, as `NAME: VALUE`.
#[derive(Clone, Debug)]
pub struct Field(HeaderName, HeaderValue);

/// A text that is no field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no field: `NAME: VALUE` is expected")]
pub struct NotAField(String);

impl FromStr for Field {
    type Err = NotAField;

    fn from_str(text: &str) -> Result<Self, NotAField> {
        let field = text.split_once(':').and_then(|(name, value)| {
            let name = name.parse().ok()?;
            let value = value.trim().parse().ok()?;
            Some(Self(name, value))
        });
        field.ok_or_else(|| NotAField(text.to_owned()))
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(name, value) = self;
        write!(f, "{name}: {}", String::from_utf8_lossy(value.as_bytes()))
    }
}

impl Question {
    /// Whether the HTTP decision is explained.
    pub(super) fn is_of_http(&self) -> bool {
        let has_more = self.path.is_some() || !self.fields.is_empty();
        self.method.is_some() || self.token.is_some() || has_more
    }

    /// The request whose HTTP decision is explained; a GET of `/` as far as nothing else was said.
    pub(super) fn request(&self) -> Result<Option<Parts>, QuestionError> {
        if !self.is_of_http() {
            return Ok(None);
        }
        if self.fields.len() > MOST_FIELDS {
            return Err(QuestionError::Fields);
        }
        let method = self.method.as_deref().unwrap_or("GET");
        let not_a_method = |_| QuestionError::Method(method.to_owned());
        let path = self.path.as_deref().unwrap_or("/");
        let not_a_path = || QuestionError::Path(path.to_owned());
        let uri = Uri::try_from(path).ok().filter(|_| path.starts_with('/'));
        let fields = self.fields.iter().cloned();
        let mut request = Request::new(());
        *request.method_mut() = method.to_ascii_uppercase().parse().map_err(not_a_method)?;
        *request.uri_mut() = uri.ok_or_else(not_a_path)?;
        *request.headers_mut() =
            HeaderMap::from_iter(fields.map(|Field(name, value)| (name, value)));
        Ok(Some(request.into_parts().0))
    }
}

/// Why a question has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuestionError {
    /// Nobody answers for the name.
    #[error("no service answers for `{0}`: it is in the `hosts` of none")]
    UnknownName(String),
    /// Not a name as DNS and HTTP have it.
    #[error("write names of other scripts in their ASCII form (xn--…)")]
    NotAscii,
    /// Not a type that is steered.
    #[error("`{0}` is not a steered type: A, AAAA or HTTPS is expected")]
    Type(String),
    /// Not a method.
    #[error("`{0}` is no HTTP method")]
    Method(String),
    /// Not a path.
    #[error("`{0}` is no path: `/PATH` or `/PATH?QUERY` is expected")]
    Path(String),
    /// More fields than a request may have.
    #[error("a request has at most {MOST_FIELDS} fields")]
    Fields,
    /// Not a token of this service.
    #[error("the token counts as absent: {0}")]
    Token(Flaw),
}

impl QuestionError {
    /// As the API refuses it.
    pub(super) fn refused(self) -> Refused {
        let status = match self {
            Self::UnknownName(_) => StatusCode::NOT_FOUND,
            Self::NotAscii
            | Self::Type(_)
            | Self::Method(_)
            | Self::Path(_)
            | Self::Fields
            | Self::Token(_) => StatusCode::BAD_REQUEST,
        };
        error(status, self.to_string())
    }
}
