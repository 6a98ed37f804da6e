//! Signing up, logging in and out, and new passwords.

use axum::Json as JsonBody;
use axum::extract::{Path, State};
use axum::http::header::{CACHE_CONTROL, LOCATION, SET_COOKIE};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{AppendHeaders, IntoResponse, Response};
use freehold_control::people::oidc::OidcReturn;
use freehold_control::people::recovery::{NewPassword, PasswordChange};
use freehold_control::people::session::{LogIn, NewSession, SessionView};
use freehold_control::people::signup::{Addressee, ShownToken, SignUp, SignedUp, SignupInfo};
use freehold_domain::{Error, ErrorCode};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Query;
use super::document::Refused;
use crate::http::App;
use crate::http::body::Json;
use crate::http::caller::{SESSION_COOKIE, Session, Visit, cookie};
use crate::http::reply::Refusal;

/// The cookie that a browser keeps while it is at a provider.
const OIDC_COOKIE: &str = "freehold_oidc";
const OIDC_COOKIE_S: u32 = 600;

/// The routes.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(signup_info, sign_up))
        .routes(routes!(verify))
        .routes(routes!(resend))
        .routes(routes!(show, log_in, log_out))
        .routes(routes!(log_out_everywhere))
        .routes(routes!(forgot))
        .routes(routes!(reset))
        .routes(routes!(change_password))
        .routes(routes!(oidc_start))
        .routes(routes!(oidc_callback))
}

/// `Set-Cookie` of a session; an empty token ends it.
fn session_cookie(app: &App, token: &str, seconds: u32) -> (HeaderName, String) {
    let secure = if app.control.people_settings().is_secure() { "; Secure" } else { "" };
    (SET_COOKIE, format!("{SESSION_COOKIE}={token}; Path=/; HttpOnly; SameSite=Lax; Max-Age={seconds}{secure}"))
}

fn oidc_cookie(app: &App, state: &str, seconds: u32) -> (HeaderName, String) {
    let secure = if app.control.people_settings().is_secure() { "; Secure" } else { "" };
    (SET_COOKIE, format!("{OIDC_COOKIE}={state}; Path=/api/v1/oidc; HttpOnly; SameSite=Lax; Max-Age={seconds}{secure}"))
}

/// Nothing that names a session is kept by a cache.
const NO_STORE: (HeaderName, &str) = (CACHE_CONTROL, "no-store");

/// Says who may sign up, and through which providers one can log in.
#[utoipa::path(get, path = "/signup", tag = "people", security(()), responses((status = 200, body = SignupInfo), (status = "default", body = Refused)))]
async fn signup_info(State(app): State<App>) -> JsonBody<SignupInfo> {
    JsonBody(app.control.signup_info())
}

/// Signs somebody up. The answer is the same whether the address has an account or not.
#[utoipa::path(post, path = "/signup", tag = "people", security(()), request_body = SignUp, responses((status = 201, body = SignedUp), (status = "default", body = Refused)))]
async fn sign_up(State(app): State<App>, visit: Visit, Json(body): Json<SignUp>) -> Result<(StatusCode, JsonBody<SignedUp>), Refusal> {
    Ok((StatusCode::CREATED, JsonBody(app.control.sign_up(body, &visit.origin).await?)))
}

/// Takes the token of a mail: confirms an address, with the password that was chosen when signing up, or accepts an
/// invitation to a tenant.
#[utoipa::path(post, path = "/signup/verify", tag = "people", security(()), request_body = ShownToken, responses((status = 200, body = SignedUp), (status = "default", body = Refused)))]
async fn verify(State(app): State<App>, visit: Visit, Json(body): Json<ShownToken>) -> Result<JsonBody<SignedUp>, Refusal> {
    Ok(JsonBody(app.control.verify(&body, &visit.origin).await?))
}

/// Sends the mail that confirms an address again, if somebody signed up with it.
#[utoipa::path(post, path = "/signup/resend", tag = "people", security(()), request_body = Addressee, responses((status = 202, description = "A mail is on its way, if there is somebody to send it to."), (status = "default", body = Refused)))]
async fn resend(State(app): State<App>, visit: Visit, Json(body): Json<Addressee>) -> Result<StatusCode, Refusal> {
    app.control.resend_verification(&body, &visit.origin)?;
    Ok(StatusCode::ACCEPTED)
}

/// Logs in. The session is in a cookie; `csrf_token` goes into the header `x-csrf-token` of every call but GET.
#[utoipa::path(post, path = "/session", tag = "people", security(()), request_body = LogIn, responses((status = 200, body = SessionView), (status = "default", body = Refused)))]
async fn log_in(State(app): State<App>, visit: Visit, Json(body): Json<LogIn>) -> Result<Response, Refusal> {
    let NewSession { view, token } = app.control.log_in(&body, &visit.origin, visit.session.as_deref()).await?;
    let kept = session_cookie(&app, &token, app.control.people_settings().session_s);
    Ok((AppendHeaders([kept]), [NO_STORE], JsonBody(view)).into_response())
}

/// Says who is logged in.
#[utoipa::path(get, path = "/session", tag = "people", security(("session" = [])), responses((status = 200, body = SessionView), (status = "default", body = Refused)))]
async fn show(State(app): State<App>, Session(session): Session) -> Result<Response, Refusal> {
    Ok(([NO_STORE], JsonBody(app.control.session_view(&session).await?)).into_response())
}

/// Logs out.
#[utoipa::path(delete, path = "/session", tag = "people", security(("session" = [])), responses((status = 204, description = "The session has ended."), (status = "default", body = Refused)))]
async fn log_out(State(app): State<App>, Session(session): Session) -> Result<Response, Refusal> {
    app.control.log_out(&session).await?;
    Ok((StatusCode::NO_CONTENT, AppendHeaders([session_cookie(&app, "", 0)])).into_response())
}

/// Logs out everywhere.
#[utoipa::path(delete, path = "/sessions", tag = "people", security(("session" = [])), responses((status = 204, description = "Every session of the user has ended."), (status = "default", body = Refused)))]
async fn log_out_everywhere(State(app): State<App>, Session(session): Session) -> Result<Response, Refusal> {
    app.control.log_out_everywhere(&session).await?;
    Ok((StatusCode::NO_CONTENT, AppendHeaders([session_cookie(&app, "", 0)])).into_response())
}

/// Sends a mail with which a new password can be chosen, if the address has an account.
#[utoipa::path(post, path = "/password/forgot", tag = "people", security(()), request_body = Addressee, responses((status = 202, description = "A mail is on its way, if there is somebody to send it to."), (status = "default", body = Refused)))]
async fn forgot(State(app): State<App>, visit: Visit, Json(body): Json<Addressee>) -> Result<StatusCode, Refusal> {
    app.control.forgot_password(&body, &visit.origin)?;
    Ok(StatusCode::ACCEPTED)
}

/// Sets a new password with the token of a mail; ends every session of the user.
#[utoipa::path(post, path = "/password/reset", tag = "people", security(()), request_body = NewPassword, responses((status = 204, description = "The password is set."), (status = "default", body = Refused)))]
async fn reset(State(app): State<App>, visit: Visit, Json(body): Json<NewPassword>) -> Result<StatusCode, Refusal> {
    app.control.reset_password(&body, &visit.origin).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Sets a new password for who is logged in and knows the old one; ends every other session of the user.
#[utoipa::path(post, path = "/password/change", tag = "people", security(("session" = [])), request_body = PasswordChange, responses((status = 204, description = "The password is set."), (status = "default", body = Refused)))]
async fn change_password(
    State(app): State<App>,
    Session(session): Session,
    visit: Visit,
    Json(body): Json<PasswordChange>,
) -> Result<StatusCode, Refusal> {
    app.control.change_password(&session, &body, &visit.origin).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// How a log-in at a provider begins.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Begin {
    /// An invite code, for who has no account yet.
    invite: Option<String>,
}

/// Sends the browser to a provider.
#[utoipa::path(get, path = "/oidc/{provider}/start", tag = "people", security(()), params(("provider" = String, Path, description = "Name."), Begin), responses((status = 302, description = "To the provider."), (status = "default", body = Refused)))]
async fn oidc_start(
    State(app): State<App>,
    visit: Visit,
    Path(provider): Path<String>,
    Query(begin): Query<Begin>,
) -> Result<Response, Refusal> {
    let start = app.control.oidc_start(&provider, begin.invite.as_deref(), &visit.origin).await?;
    let kept = oidc_cookie(&app, &start.state, OIDC_COOKIE_S);
    Ok((StatusCode::FOUND, AppendHeaders([kept]), [(LOCATION, start.url), (CACHE_CONTROL, "no-store".to_owned())]).into_response())
}

/// What a provider sends the browser back with. Providers add what they like.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Back {
    /// The provider's code.
    code: Option<String>,
    /// What the log-in began with.
    state: Option<String>,
    /// Why the provider refused.
    error: Option<String>,
}

/// Takes the browser back from a provider, and sends it on to `/`; to `/#/login?error=CODE` if the log-in failed.
#[utoipa::path(get, path = "/oidc/{provider}/callback", tag = "people", security(()), params(("provider" = String, Path, description = "Name."), Back), responses((status = 302, description = "To the console."), (status = "default", body = Refused)))]
async fn oidc_callback(
    State(app): State<App>,
    visit: Visit,
    headers: HeaderMap,
    Path(provider): Path<String>,
    Query(back): Query<Back>,
) -> Response {
    let kept_state = cookie(&headers, OIDC_COOKIE).unwrap_or_default();
    let forget = oidc_cookie(&app, "", 0);
    match finish(&app, &visit, &provider, &back, &kept_state).await {
        Ok(session) => {
            let kept = session_cookie(&app, &session.token, app.control.people_settings().session_s);
            (StatusCode::FOUND, AppendHeaders([kept, forget]), [(LOCATION, "/"), NO_STORE]).into_response()
        }
        Err(error) => {
            let context = error.context.as_deref().unwrap_or_default();
            tracing::info!(provider, code = error.code.as_str(), message = error.message, context, "a log-in at a provider failed");
            let location = format!("/#/login?error={}", error.code);
            (StatusCode::FOUND, AppendHeaders([forget]), [(LOCATION, location), (CACHE_CONTROL, "no-store".to_owned())]).into_response()
        }
    }
}

async fn finish(app: &App, visit: &Visit, provider: &str, back: &Back, kept_state: &str) -> Result<NewSession, Error> {
    let (Some(code), Some(state)) = (&back.code, &back.state) else {
        let why: String = back.error.as_deref().unwrap_or("no code").chars().take(100).collect();
        return Err(Error::new(ErrorCode::InvalidCredentials, "The provider refused the log-in.").with_context(why));
    };
    let back = OidcReturn { provider, state, kept_state, code };
    app.control.oidc_finish(back, &visit.origin, visit.session.as_deref()).await
}
