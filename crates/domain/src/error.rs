//! The one table of errors: code, HTTP status, documentation page.
//!
//! An [`Error`] carries a message for the client and, apart from it, context for the operator's log. A dialect
//! renders code and message in its own shape and never sees the context.

use std::fmt;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $status:literal;)*) => {
        /// What went wrong, in a form that programs can compare.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum ErrorCode { $($(#[$doc])* $name,)* }

        impl ErrorCode {
            /// Every code, in the order of the table.
            pub const ALL: &'static [ErrorCode] = &[$(ErrorCode::$name,)*];

            /// The code as it stands in answers and in the name of its page, `docs/errors/CODE.md`.
            pub const fn as_str(self) -> &'static str {
                match self { $(ErrorCode::$name => $text,)* }
            }

            /// The HTTP status that goes with the code.
            pub const fn http_status(self) -> u16 {
                match self { $(ErrorCode::$name => $status,)* }
            }

            /// The code with this text.
            pub fn from_text(text: &str) -> Option<ErrorCode> {
                match text { $($text => Some(ErrorCode::$name),)* _ => None }
            }
        }
    };
}

codes! {
    /// The body is not JSON, or not in UTF-8, or nested too deeply.
    InvalidJson = "invalid_json", 400;
    /// A field is missing, of the wrong type or out of range.
    InvalidRequest = "invalid_request", 400;
    /// A field that the dialect does not have.
    UnknownParameter = "unknown_parameter", 400;
    /// The dialect has it, this service or this model does not.
    UnsupportedFeature = "unsupported_feature", 400;
    /// A token of a mail, or an invite code, that does not exist, was used or has expired.
    InvalidToken = "invalid_token", 400;
    /// Prompt and answer together do not fit the model's context.
    ContextLengthExceeded = "context_length_exceeded", 400;
    /// The response that a request goes on from, or one before it, is not stored, or is not for this caller.
    PreviousResponseNotFound = "previous_response_not_found", 400;
    /// No key was sent, or one that does not exist, was revoked or has expired.
    InvalidApiKey = "invalid_api_key", 401;
    /// Nobody is logged in: no session was sent, or one that has ended.
    InvalidSession = "invalid_session", 401;
    /// The e-mail address and the password do not fit together, or the address is not verified yet.
    InvalidCredentials = "invalid_credentials", 401;
    /// The request comes with a session, but not with the session's CSRF token.
    InvalidCsrfToken = "invalid_csrf_token", 403;
    /// Nobody can sign up here without an invitation.
    SignupClosed = "signup_closed", 403;
    /// The tenant has not enough credit for what the request can cost.
    InsufficientCredit = "insufficient_credit", 402;
    /// A budget of the tenant or of the key does not allow what the request can cost.
    BudgetExhausted = "budget_exhausted", 402;
    /// The key is good, but not for this action.
    PermissionDenied = "permission_denied", 403;
    /// What the tenant or the key may store does not hold what this request asks to be stored.
    StorageExhausted = "storage_exhausted", 403;
    /// There is no such model, or none that this key may use.
    ModelNotFound = "model_not_found", 404;
    /// There is no such thing, or none that this caller may see.
    NotFound = "not_found", 404;
    /// The path exists, but not with this HTTP method.
    MethodNotAllowed = "method_not_allowed", 405;
    /// The thing exists already, or is in a state that does not allow this.
    Conflict = "conflict", 409;
    /// The body is over the limit.
    PayloadTooLarge = "payload_too_large", 413;
    /// The body is not of a media type that this route reads.
    UnsupportedMediaType = "unsupported_media_type", 415;
    /// Too much at once: the queue is full or a limit is reached. Carries a Retry-After.
    RateLimited = "rate_limited", 429;
    /// A fault of the service.
    Internal = "internal", 500;
    /// The worker that served the request was lost; the answer is incomplete.
    WorkerLost = "worker_lost", 502;
    /// The server that serves the model for this service cannot be reached, refuses the service, or answers with
    /// something that is not in the protocol.
    UpstreamFailed = "upstream_failed", 502;
    /// The model cannot be served now: it does not load, does not fit, or the service is stopping.
    Unavailable = "unavailable", 503;
    /// The request's deadline passed.
    DeadlineExceeded = "deadline_exceeded", 504;
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An error on its way to a client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// Which error.
    pub code: ErrorCode,
    /// For the client: what is wrong and what to do.
    pub message: String,
    /// The request's field that is wrong, as a path (`messages[0].content`).
    pub param: Option<String>,
    /// Seconds after which trying again makes sense.
    pub retry_after_s: Option<u32>,
    /// For the operator's log only.
    pub context: Option<String>,
}

impl Error {
    /// An error with a message for the client.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), param: None, retry_after_s: None, context: None }
    }

    /// A fault of the service: the client learns no more than that.
    pub fn internal(context: impl fmt::Display) -> Self {
        Self::new(ErrorCode::Internal, "The service failed. The fault is in its log under this request's id.").with_context(context)
    }

    /// A wrong field.
    pub fn invalid(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self { param: Some(param.into()), ..Self::new(ErrorCode::InvalidRequest, message) }
    }

    /// Names the field that is wrong.
    #[must_use]
    pub fn with_param(mut self, param: impl Into<String>) -> Self {
        self.param = Some(param.into());
        self
    }

    /// Adds what only the operator should see.
    #[must_use]
    pub fn with_context(mut self, context: impl fmt::Display) -> Self {
        self.context = Some(context.to_string());
        self
    }

    /// Says when to try again.
    #[must_use]
    pub fn with_retry_after_s(mut self, seconds: u32) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_and_found_by_their_text() {
        for &code in ErrorCode::ALL {
            assert_eq!(ErrorCode::from_text(code.as_str()), Some(code));
            assert!((400..600).contains(&code.http_status()));
        }
    }
}
