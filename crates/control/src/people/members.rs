//! Users as the owner of a tenant and the operator see them: invite, list, change, remove.

use freehold_domain::{Email, Error, ErrorCode, Role, TenantId, Timestamp, UserId};
use freehold_store::{Account, InviteTo, Member, Once, Place, StoreError, TenantRow, UserChange, UserRow};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};

use super::invites::{InviteWithCode, Wanted};
use super::password::Password;
use super::signup::Newcomer;
use super::{read_email, read_person_name};
use crate::auth::{Action, Actor, not_found, permit};
use crate::facade::Control;
use crate::once::IdempotencyKey;
use crate::page::{Page, PageRequest};

/// A user, as it is shown to others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UserView {
    /// Its id.
    #[schema(value_type = String, example = "usr_01jz8v6w9qf3s8s4k2m1n0p7rt")]
    pub id: UserId,
    /// Its address.
    #[schema(value_type = String, example = "ada@example.org")]
    pub email: Email,
    /// What it is called.
    pub name: String,
    /// What it is in the tenant that is looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "developer")]
    pub role: Option<Role>,
    /// Whether it manages the service; shown to operators.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<bool>,
    /// Whether it may log in: the address was confirmed, or an operator let it in.
    pub verified: bool,
    /// When it was made a member, or made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it last logged in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_login_at: Option<Timestamp>,
}

/// A user to invite, or for operators to make.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewUser {
    /// The address.
    #[schema(max_length = 254, example = "ada@example.org")]
    pub email: String,
    /// What it is to be in the tenant: owner, developer, billing or viewer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^(owner|developer|billing|viewer)$", example = "developer")]
    pub role: Option<String>,
    /// The tenant, by id or name; for operators.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// What the person is called; for operators who give a password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Make the user at once, with this password, instead of inviting it; for operators.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Password>,
    /// Make it an operator; for operators. Takes a password.
    #[serde(default)]
    pub operator: bool,
}

/// What came of it: an invitation, or a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NewUserOutcome {
    /// The invitation that was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invite: Option<InviteWithCode>,
    /// The user that was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserView>,
}

/// What to change of a user; what is left out stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangedUser {
    /// What it is in the tenant: owner, developer, billing or viewer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^(owner|developer|billing|viewer)$", example = "developer")]
    pub role: Option<String>,
    /// Whether it manages the service; for operators.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<bool>,
    /// A new password; for operators. Ends every session of the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Password>,
    /// That it may log in; or that it may not, which closes the account until an operator opens it again, and ends its
    /// sessions, links to providers and invitations; for operators.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified: Option<bool>,
}

/// In which tenant a user is meant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct WhichTenant {
    /// The tenant, by id or name; for operators, who mean the user itself without it.
    pub tenant: Option<String>,
}

/// Whose users to list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct UserListRequest {
    /// The tenant, by id or name; for operators, who see all users without it.
    pub tenant: Option<String>,
    /// How many, 1 to 1000; 100 when it is left out.
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
    /// The `next` of the page before.
    pub after: Option<String>,
}

fn read_role(text: &str) -> Result<Role, Error> {
    text.parse().map_err(|error| Error::invalid("role", format!("`role`: {error}.")))
}

fn view(row: UserRow, role: Option<Role>, since: Option<Timestamp>, by_operator: bool) -> UserView {
    UserView {
        id: row.id,
        email: row.email,
        name: row.name,
        role,
        operator: by_operator.then_some(row.operator),
        verified: row.verified_at.is_some(),
        created_at: since.unwrap_or(row.created_at),
        last_login_at: row.last_login_at,
    }
}

impl Control {
    /// The tenant that is meant: the named one, or the caller's; `None` for an operator who names none.
    pub(crate) async fn meant_tenant(&self, actor: &Actor, named: Option<&str>) -> Result<Option<TenantRow>, Error> {
        match (named, actor.tenant()) {
            (Some(text), _) => self.visible_tenant(actor, text).await.map(Some),
            (None, Some(tenancy)) => {
                let id = tenancy.tenant;
                Ok(Some(self.store(move |store| store.tenant(id)).await?.ok_or_else(|| not_found("tenant"))?))
            }
            (None, None) => Ok(None),
        }
    }

    /// The members of a tenant; for an operator who names none, all users.
    ///
    /// # Errors
    /// `not_found` for a tenant that the actor may not see, `permission_denied`, `invalid_request` for a bad page.
    pub async fn list_users(&self, actor: &Actor, request: &UserListRequest) -> Result<Page<UserView>, Error> {
        let page = PageRequest { limit: request.limit, after: request.after.clone() };
        let (limit, after) = page.read::<UserId>()?;
        let by_operator = actor.is_operator();
        match self.meant_tenant(actor, request.tenant.as_deref()).await? {
            Some(tenant) => {
                permit(actor, Action::SeeMembers(tenant.id))?;
                let rows = self.store(move |store| store.members(tenant.id, after, limit + 1)).await?;
                let show = |row: Member| view(row.user, Some(row.role), Some(row.since), by_operator);
                Ok(Page::of(rows, limit, |row| row.user.id.to_string(), show))
            }
            None => {
                permit(actor, Action::ManageUsers)?;
                let rows = self.store(move |store| store.users(after, limit + 1)).await?;
                Ok(Page::of(rows, limit, |row| row.id.to_string(), |row| view(row, None, None, by_operator)))
            }
        }
    }

    /// Invites somebody to a tenant. An operator may also make a user at once, by giving a password.
    ///
    /// # Errors
    /// `permission_denied`, `not_found` for the tenant, `conflict` for a user or member that there is, `invalid_request`,
    /// `unavailable` where no mail is sent and the inviter is no operator, `rate_limited` for too many invitations.
    pub async fn create_user(&self, actor: &Actor, new: NewUser, once: Option<&IdempotencyKey>) -> Result<NewUserOutcome, Error> {
        // A fast hash of a password does not go onto the disk.
        let noted = NewUser { password: new.password.as_ref().map(|_| Password::default()), ..new.clone() };
        let once = once.map(|once| once.once(actor, "create_user", &noted, self.now())).transpose()?;
        let tenant = self.meant_tenant(actor, new.tenant.as_deref()).await?;
        if new.operator || new.password.is_some() || tenant.is_none() {
            permit(actor, Action::ManageUsers)?;
        }
        if let Some(tenant) = &tenant {
            permit(actor, Action::ManageMembers(tenant.id))?;
        }
        let email = read_email(&new.email)?;
        let name = read_person_name(new.name.as_deref())?;
        let role = new.role.as_deref().map(read_role).transpose()?;
        let membership = match (tenant, role) {
            (Some(tenant), Some(role)) => Some((tenant, role)),
            (Some(_), None) => return Err(Error::invalid("role", "Say what the user is to be: owner, developer, billing or viewer.")),
            (None, Some(_)) => return Err(Error::invalid("tenant", "Say in which tenant, by id or name.")),
            (None, None) => None,
        };
        match (new.password, membership) {
            (Some(password), membership) => {
                let user = self.new_user(email, name, new.operator, &password).await?;
                let user = self.make_user(actor, user, membership, once).await?;
                Ok(NewUserOutcome { invite: None, user: Some(user) })
            }
            (None, _) if new.operator => Err(Error::invalid("password", "An operator is made with a password.")),
            (None, None) => {
                Err(Error::invalid("tenant", "Say to which tenant, by id or name; or give a password to make the user at once."))
            }
            (None, Some((tenant, role))) => {
                let invite = self.invite_member(actor, email, &tenant, role, once).await?;
                Ok(NewUserOutcome { invite: Some(invite), user: None })
            }
        }
    }

    async fn new_user(&self, email: Email, name: String, operator: bool, password: &Password) -> Result<UserRow, Error> {
        password.check()?;
        let now = self.now();
        Ok(UserRow {
            id: UserId::from_uuid(self.new_uuid()),
            email,
            name,
            password_hash: Some(self.people().passwords.hash(password).await?),
            operator,
            verified_at: Some(now),
            address_proved: false,
            closed: false,
            created_at: now,
            last_login_at: None,
        })
    }

    async fn make_user(
        &self,
        actor: &Actor,
        user: UserRow,
        membership: Option<(TenantRow, Role)>,
        once: Option<Once>,
    ) -> Result<UserView, Error> {
        let place = membership.as_ref().map_or(Place::Nowhere, |(tenant, role)| Place::Tenant(tenant.id, *role));
        let newcomer = Newcomer { by: Some(actor.by()), once, ..Newcomer::new(user.clone(), Account::New, place) };
        let made = self.arrive(newcomer).await?;
        let id = made.user.id.unwrap_or(user.id);
        let user = self.store(move |store| store.user(id)).await?.ok_or_else(|| not_found("user"))?;
        Ok(view(user, membership.map(|(_, role)| role), None, true))
    }

    async fn invite_member(
        &self,
        actor: &Actor,
        email: Email,
        tenant: &TenantRow,
        role: Role,
        once: Option<Once>,
    ) -> Result<InviteWithCode, Error> {
        let (address, id) = (email.clone(), tenant.id);
        let is_member = self
            .store(move |store| {
                let user = store.user_by_email(&address)?;
                Ok(user.map(|user| store.member(id, user.id)).transpose()?.flatten().is_some())
            })
            .await?;
        if is_member {
            return Err(Error::new(ErrorCode::Conflict, "This address is a member's already: change its role instead.").with_param("email"));
        }
        let to = InviteTo::Tenant { tenant: tenant.id, role, email };
        let wanted = Wanted { to, tenant_name: Some(&tenant.name), note: String::new(), uses_max: 1, expires_at: None };
        self.invite(actor, wanted, once).await
    }

    /// Changes a member's role, and for operators the user itself.
    ///
    /// # Errors
    /// `not_found`, `permission_denied`, `conflict` for the last owner, `invalid_request`.
    pub async fn change_user(&self, actor: &Actor, user: &str, which: &WhichTenant, change: ChangedUser) -> Result<UserView, Error> {
        let (tenant, row) = self.visible_user(actor, user, which).await?;
        let about_user = change.operator.is_some() || change.password.is_some() || change.verified.is_some();
        if about_user {
            permit(actor, Action::ManageUsers)?;
        }
        if let Some(role) = change.role.as_deref() {
            let tenant = tenant.ok_or_else(|| Error::invalid("tenant", "Say in which tenant, by id or name."))?;
            permit(actor, Action::ManageMembers(tenant))?;
            let role = read_role(role)?;
            let about = json!({"email": row.user.email.as_str(), "role": role.as_str()});
            let event = self.event(Some(&actor.by()), Some(tenant), "member.role_changed", &row.user.id.to_string(), about);
            let id = row.user.id;
            self.store(move |store| store.set_role(tenant, id, role, Some(&event))).await.map_err(missing_user)?;
        } else if !about_user {
            permit(actor, tenant.map_or(Action::ManageUsers, Action::ManageMembers))?;
        }
        if about_user {
            self.change_account(actor, row.user.id, &change).await?;
        }
        let (_, row) = self.visible_user(actor, user, which).await?;
        Ok(view(row.user, row.role, row.since, actor.is_operator()))
    }

    async fn change_account(&self, actor: &Actor, user: UserId, change: &ChangedUser) -> Result<(), Error> {
        let now = self.now();
        let password_hash = match &change.password {
            Some(password) => {
                password.check()?;
                Some(self.people().passwords.hash(password).await?)
            }
            None => None,
        };
        let about = json!({"operator": change.operator, "verified": change.verified, "password": password_hash.is_some()});
        let event = self.event(Some(&actor.by()), None, "user.changed", &user.to_string(), about);
        let written = UserChange { verified_at: change.verified.map(|is| is.then_some(now)), operator: change.operator, password_hash };
        self.store(move |store| store.change_user(user, &written, Some(&event))).await.map_err(missing_user)
    }

    /// Takes a member out of a tenant; an operator who names none removes the user itself.
    ///
    /// # Errors
    /// `not_found`, `permission_denied`, `conflict` for the last owner.
    pub async fn remove_user(&self, actor: &Actor, user: &str, which: &WhichTenant) -> Result<UserView, Error> {
        let (tenant, row) = self.visible_user(actor, user, which).await?;
        let id = row.user.id;
        let about = json!({"email": row.user.email.as_str()});
        let by = actor.by();
        match tenant {
            Some(tenant) => {
                permit(actor, Action::RemoveMember(tenant, id))?;
                let event = self.event(Some(&by), Some(tenant), "member.removed", &id.to_string(), about);
                self.store(move |store| store.remove_member(tenant, id, Some(&event))).await.map_err(missing_user)?;
            }
            None => {
                permit(actor, Action::ManageUsers)?;
                let event = self.event(Some(&by), None, "user.removed", &id.to_string(), about);
                self.store(move |store| store.delete_user(id, Some(&event))).await.map_err(missing_user)?;
            }
        }
        Ok(view(row.user, row.role, row.since, actor.is_operator()))
    }

    /// The user that is meant, by id or address, if the actor may see it there.
    async fn visible_user(&self, actor: &Actor, user: &str, which: &WhichTenant) -> Result<(Option<TenantId>, Seen), Error> {
        let tenant = self.meant_tenant(actor, which.tenant.as_deref()).await?.map(|tenant| tenant.id);
        permit(actor, tenant.map_or(Action::ManageUsers, Action::SeeMembers))?;
        let found = match (user.parse::<UserId>(), user.parse::<Email>()) {
            (Ok(id), _) => self.store(move |store| store.user(id)).await?,
            (Err(_), Ok(email)) => self.store(move |store| store.user_by_email(&email)).await?,
            (Err(_), Err(_)) => None,
        };
        let row = found.ok_or_else(|| not_found("user"))?;
        let Some(tenant) = tenant else { return Ok((None, Seen { user: row, role: None, since: None })) };
        let id = row.id;
        let member = self.store(move |store| store.member(tenant, id)).await?.ok_or_else(|| not_found("user"))?;
        Ok((Some(tenant), Seen { user: member.user, role: Some(member.role), since: Some(member.since) }))
    }
}

/// A user, and what it is in the tenant that is meant.
struct Seen {
    user: UserRow,
    role: Option<Role>,
    since: Option<Timestamp>,
}

fn missing_user(error: StoreError) -> Error {
    if matches!(error, StoreError::Missing) { not_found("user") } else { error.into() }
}
