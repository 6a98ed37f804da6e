//! Users, invitations, the waiting list, and the trail of what was done.

use axum::Json as JsonBody;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use freehold_control::page::{Page, PageRequest};
use freehold_control::people::invites::{InviteView, InviteWithCode, NewInvite};
use freehold_control::people::members::{ChangedUser, NewUser, NewUserOutcome, UserListRequest, UserView, WhichTenant};
use freehold_control::people::signup::SignedUp;
use freehold_control::people::waiting::WaitingView;
use freehold_control::trail::{Event, TrailRequest};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::document::Refused;
use super::{Once, Query};
use crate::http::App;
use crate::http::body::Json;
use crate::http::caller::Caller;
use crate::http::reply::Refusal;

/// The routes.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(change, remove))
        .routes(routes!(list_invites, create_invite))
        .routes(routes!(delete_invite))
        .routes(routes!(list_waiting))
        .routes(routes!(admit))
        .routes(routes!(remove_waiting))
        .routes(routes!(trail))
}

/// Lists the members of a tenant; for an operator who names none, all users.
#[utoipa::path(get, path = "/users", tag = "people", params(UserListRequest), responses((status = 200, body = Page<UserView>), (status = "default", body = Refused)))]
async fn list(
    State(app): State<App>,
    Caller(actor): Caller,
    Query(request): Query<UserListRequest>,
) -> Result<JsonBody<Page<UserView>>, Refusal> {
    Ok(JsonBody(app.control.list_users(&actor, &request).await?))
}

/// Invites somebody to a tenant. An operator may make the user at once, by giving a password.
#[utoipa::path(post, path = "/users", tag = "people", request_body = NewUser, responses((status = 201, body = NewUserOutcome), (status = "default", body = Refused)))]
async fn create(
    State(app): State<App>,
    Caller(actor): Caller,
    Once(once): Once,
    Json(new): Json<NewUser>,
) -> Result<(StatusCode, JsonBody<NewUserOutcome>), Refusal> {
    Ok((StatusCode::CREATED, JsonBody(app.control.create_user(&actor, new, once.as_ref()).await?)))
}

/// Changes a member's role; for operators, also the user itself.
#[utoipa::path(patch, path = "/users/{user}", tag = "people", params(("user" = String, Path, description = "Id or address."), WhichTenant), request_body = ChangedUser, responses((status = 200, body = UserView), (status = "default", body = Refused)))]
async fn change(
    State(app): State<App>,
    Caller(actor): Caller,
    Path(user): Path<String>,
    Query(which): Query<WhichTenant>,
    Json(change): Json<ChangedUser>,
) -> Result<JsonBody<UserView>, Refusal> {
    Ok(JsonBody(app.control.change_user(&actor, &user, &which, change).await?))
}

/// Takes a member out of a tenant; an operator who names none removes the user itself.
#[utoipa::path(delete, path = "/users/{user}", tag = "people", params(("user" = String, Path, description = "Id or address."), WhichTenant), responses((status = 200, body = UserView), (status = "default", body = Refused)))]
async fn remove(
    State(app): State<App>,
    Caller(actor): Caller,
    Path(user): Path<String>,
    Query(which): Query<WhichTenant>,
) -> Result<JsonBody<UserView>, Refusal> {
    Ok(JsonBody(app.control.remove_user(&actor, &user, &which).await?))
}

/// Lists invitations: to the caller's tenant, or all for an operator.
#[utoipa::path(get, path = "/invites", tag = "people", params(PageRequest), responses((status = 200, body = Page<InviteView>), (status = "default", body = Refused)))]
async fn list_invites(
    State(app): State<App>,
    Caller(actor): Caller,
    Query(page): Query<PageRequest>,
) -> Result<JsonBody<Page<InviteView>>, Refusal> {
    Ok(JsonBody(app.control.list_invites(&actor, &page).await?))
}

/// Makes an invite code, for one address or for whoever has it.
#[utoipa::path(post, path = "/invites", tag = "people", request_body = NewInvite, responses((status = 201, body = InviteWithCode), (status = "default", body = Refused)))]
async fn create_invite(
    State(app): State<App>,
    Caller(actor): Caller,
    Once(once): Once,
    Json(new): Json<NewInvite>,
) -> Result<(StatusCode, JsonBody<InviteWithCode>), Refusal> {
    Ok((StatusCode::CREATED, JsonBody(app.control.create_invite(&actor, new, once.as_ref()).await?)))
}

/// Takes an invitation back.
#[utoipa::path(delete, path = "/invites/{invite}", tag = "people", params(("invite" = String, Path, description = "Id.")), responses((status = 200, body = InviteView), (status = "default", body = Refused)))]
async fn delete_invite(State(app): State<App>, Caller(actor): Caller, Path(invite): Path<String>) -> Result<JsonBody<InviteView>, Refusal> {
    Ok(JsonBody(app.control.delete_invite(&actor, &invite).await?))
}

/// Lists who waits, the next first.
#[utoipa::path(get, path = "/waiting", tag = "people", params(PageRequest), responses((status = 200, body = Page<WaitingView>), (status = "default", body = Refused)))]
async fn list_waiting(
    State(app): State<App>,
    Caller(actor): Caller,
    Query(page): Query<PageRequest>,
) -> Result<JsonBody<Page<WaitingView>>, Refusal> {
    Ok(JsonBody(app.control.list_waiting(&actor, &page).await?))
}

/// Lets somebody in who waits.
#[utoipa::path(post, path = "/waiting/{entry}/admit", tag = "people", params(("entry" = String, Path, description = "Id.")), responses((status = 200, body = SignedUp), (status = "default", body = Refused)))]
async fn admit(State(app): State<App>, Caller(actor): Caller, Path(entry): Path<String>) -> Result<JsonBody<SignedUp>, Refusal> {
    Ok(JsonBody(app.control.admit(&actor, &entry).await?))
}

/// Takes somebody off the waiting list, and the account with it if its address was never verified.
#[utoipa::path(delete, path = "/waiting/{entry}", tag = "people", params(("entry" = String, Path, description = "Id.")), responses((status = 200, body = WaitingView), (status = "default", body = Refused)))]
async fn remove_waiting(
    State(app): State<App>,
    Caller(actor): Caller,
    Path(entry): Path<String>,
) -> Result<JsonBody<WaitingView>, Refusal> {
    Ok(JsonBody(app.control.remove_waiting(&actor, &entry).await?))
}

/// Shows what was done, the newest first, as CloudEvents.
#[utoipa::path(get, path = "/trail", tag = "people", params(TrailRequest), responses((status = 200, body = Page<Event>), (status = "default", body = Refused)))]
async fn trail(
    State(app): State<App>,
    Caller(actor): Caller,
    Query(request): Query<TrailRequest>,
) -> Result<JsonBody<Page<Event>>, Refusal> {
    Ok(JsonBody(app.control.trail(&actor, &request).await?))
}
