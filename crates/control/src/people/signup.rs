//! Signing up: from a form to a user with a tenant.
//!
//! With mail, a form makes a token and nothing else that opens anything: the password and the wishes of the form travel
//! with the token and take effect when the mail's reader shows it together with the password that was typed into the
//! form. So a form filled in by a stranger never sets the password of an account that the address's owner confirms
//! later. Without mail, everybody who signs up waits for the operator, and nobody has proved an address.
//!
//! **Invariant:** the answer to a form is the same for every address.

use freehold_domain::{Email, Error, ErrorCode, InviteId, TenantId, TenantName, Timestamp, UserId, WaitingId};
use freehold_store::{
    Account, Arrival, Consumed, Created, Identity, InviteRow, InviteTo, Once, Place, SignedUp as Found, SignupMax, StoreError, TenantRow,
    TokenPurpose, TokenRow, TrailRow, UserRow, WaitingRow,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::limits::Limited;
use super::password::Password;
use super::token::Token;
use super::{Origin, Person, SignupMode, UNVERIFIED_MAX, USERS_MAX, WAITING_MAX, letters, read_email, read_person_name, read_tenant_name};
use crate::auth::By;
use crate::facade::Control;
use crate::tenants::{TENANTS_MAX, WEIGHT_DEFAULT};

/// How long the link of a mail that verifies an address is good.
const VERIFY_MS: i64 = super::DAY_MS;
/// How many such links are good at the same time: as many as are sent in an hour, so that forms filled in by others do
/// not use up one's own.
const TOKENS_MAX: u32 = super::limits::SIGNUP_MAILS_MAX;

const SIGNUP_MAX: SignupMax = SignupMax { tokens: TOKENS_MAX, users: USERS_MAX, unverified: UNVERIFIED_MAX, waiting: WAITING_MAX };

/// What a sign-up page needs to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SignupInfo {
    /// Who may sign up.
    pub mode: SignupMode,
    /// Whether the service sends mail; if not, everybody waits for the operator.
    pub mail: bool,
    /// Providers to log in through.
    pub oidc: Vec<ProviderView>,
}

/// A provider to log in through.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProviderView {
    /// Its name in paths.
    pub name: String,
    /// Its name for people.
    pub title: String,
}

/// The form of a sign-up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignUp {
    /// The address.
    #[schema(max_length = 254, example = "ada@example.org")]
    pub email: String,
    /// The password, 10 to 200 characters.
    #[schema(min_length = 10, max_length = 200)]
    pub password: Password,
    /// What the person is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The name that the tenant is to have; where it is taken, a number is put behind it. After the address if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// An invite code, or the token of an invitation to a tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invite: Option<String>,
}

/// Where a sign-up stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SignupState {
    /// A mail was sent to confirm the address.
    Verify,
    /// On the waiting list.
    Waiting,
    /// Done: log in.
    Ready,
}

/// What came of a sign-up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SignedUp {
    /// Who signed up.
    pub user: Person,
    /// Where it stands.
    pub state: SignupState,
    /// The place on the waiting list, from 1; once the address is confirmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<u32>,
}

/// The token of a mail.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ShownToken {
    /// The text behind the last slash of the mail's link.
    pub token: String,
    /// To confirm an address: the password that was chosen when signing up. Left out for an invitation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Password>,
}

impl std::fmt::Debug for ShownToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ShownToken(..)")
    }
}

/// An address that mail is to be sent to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Addressee {
    /// The address.
    #[schema(max_length = 254, example = "ada@example.org")]
    pub email: String,
}

/// What takes effect when a mail's reader shows the token. Version 1; stored for a day at most.
#[derive(Serialize, Deserialize)]
struct Wishes {
    password_hash: String,
    name: String,
    tenant: String,
    invite: Option<InviteId>,
}

pub(crate) fn invalid_token() -> Error {
    Error::new(ErrorCode::InvalidToken, "This link or code is wrong, was used, or has expired: ask for a new one.")
}

/// An operator has closed the account.
pub(crate) fn closed_account() -> Error {
    Error::new(ErrorCode::PermissionDenied, "The operator has closed this account: ask there.")
}

fn wrong_password() -> Error {
    let message = "This is not the password that was chosen when this link was asked for. If somebody else filled in the form, or you \
                   forgot the password, sign up again and open the new link.";
    Error::new(ErrorCode::InvalidCredentials, message)
}

fn closed() -> Error {
    Error::new(ErrorCode::SignupClosed, "Nobody can sign up here without an invitation: ask the operator for one.")
}

/// Who arrives, for [`Control::arrive`].
pub(crate) struct Newcomer {
    pub(crate) user: UserRow,
    pub(crate) account: Account,
    pub(crate) identity: Option<Identity>,
    pub(crate) consumed: Consumed,
    pub(crate) invite: Option<InviteId>,
    pub(crate) place: Place,
    /// Whom the trail names; the newcomer itself when it is nobody else.
    pub(crate) by: Option<By>,
    /// What else the trail says.
    pub(crate) also: Option<TrailRow>,
    pub(crate) once: Option<Once>,
}

impl Control {
    /// What a sign-up page needs to know.
    pub fn signup_info(&self) -> SignupInfo {
        let settings = self.people_settings();
        let view = |provider: &super::ProviderSettings| ProviderView { name: provider.name.clone(), title: provider.title.clone() };
        SignupInfo { mode: settings.signup, mail: self.people().mailer.is_on(), oidc: settings.providers.iter().map(view).collect() }
    }

    /// Takes the form of a sign-up.
    ///
    /// # Errors
    /// `invalid_request`, `signup_closed` (also where nobody more may wait), `invalid_token` for an invitation, `conflict` where an invitation is for an
    /// address that has an account, `rate_limited`.
    pub async fn sign_up(&self, form: SignUp, origin: &Origin) -> Result<SignedUp, Error> {
        let now = self.now();
        self.people().limits.take(Limited::FormFrom, &origin.to_string(), now)?;
        let email = read_email(&form.email)?;
        let name = read_person_name(form.name.as_deref())?;
        let tenant = read_tenant_name(form.tenant.as_deref(), &email)?;
        form.password.check()?;
        let invite = match form.invite.as_deref().map(str::trim).filter(|code| !code.is_empty()) {
            Some(code) => Some(self.shown_invite(code, Some(&email), origin).await?),
            None if self.people_settings().signup == SignupMode::Closed => return Err(closed()),
            None => None,
        };
        if invite.is_none() && !self.people().mailer.is_on() {
            self.people().limits.take(Limited::WaitFrom, origin.network(), now)?;
        }
        let password_hash = self.people().passwords.hash(&form.password).await?;
        let user = UserRow {
            id: UserId::from_uuid(self.new_uuid()),
            email,
            name,
            password_hash: None,
            operator: false,
            verified_at: None,
            address_proved: false,
            closed: false,
            created_at: now,
            last_login_at: None,
        };
        match invite {
            // Who has this invitation reads the address's mail, or was vouched for by the operator.
            Some(invite) if invite.to.email().is_some() || !self.people().mailer.is_on() => {
                let user = UserRow { password_hash: Some(password_hash), ..user };
                self.sign_up_invited(user, &tenant, &invite).await
            }
            invite => self.sign_up_unproved(user, password_hash, tenant, invite).await,
        }
    }

    async fn sign_up_invited(&self, user: UserRow, tenant: &TenantName, invite: &InviteRow) -> Result<SignedUp, Error> {
        let email = user.email.clone();
        let found = self.store(move |store| store.user_by_email(&email)).await?;
        // Only a code for one address says whose it is.
        let address_proved = invite.to.email().is_some();
        let user = UserRow { verified_at: Some(self.now()), address_proved, ..user };
        let (user, account) = match found {
            Some(known) if !is_free(&known, address_proved) => {
                let message = "There is an account with this address: log in, and open the invitation's link again to accept it.";
                return Err(Error::new(ErrorCode::Conflict, message).with_param("email"));
            }
            Some(unproved) => (UserRow { id: unproved.id, ..user }, Account::Claimed),
            None => (user, Account::New),
        };
        let place = self.place_of(invite, tenant);
        self.arrive(Newcomer { invite: Some(invite.id), ..Newcomer::new(user, account, place) }).await
    }

    async fn sign_up_unproved(
        &self,
        user: UserRow,
        password_hash: String,
        tenant: TenantName,
        invite: Option<InviteRow>,
    ) -> Result<SignedUp, Error> {
        let now = self.now();
        let person = Person { id: None, email: user.email.clone(), name: user.name.clone(), operator: false };
        if !self.people().mailer.is_on() {
            let waiting = self.waiting_row(user.id, tenant);
            let user = UserRow { password_hash: Some(password_hash), ..user };
            self.store(move |store| store.sign_up(&user, None, Some(&waiting), SIGNUP_MAX)).await?;
            return Ok(SignedUp { user: person, state: SignupState::Waiting, position: None });
        }
        self.people().limits.take(Limited::SignupMailTo, person.email.as_str(), now)?;
        let wishes = Wishes { password_hash, name: user.name.clone(), tenant: tenant.to_string(), invite: invite.map(|invite| invite.id) };
        let token = Token::generate()?;
        let row = self.verify_token(&token, user.id, serde_json::to_string(&wishes).map_err(Error::internal)?);
        let found = self.store(move |store| store.sign_up(&user, Some(&row), None, SIGNUP_MAX)).await?;
        let url = &self.people_settings().public_url;
        let letter = match found {
            Found::Open(_) => letters::verify(url, &token),
            Found::Known(_) => letters::known(url),
        };
        self.people().mailer.send(&person.email, letter);
        Ok(SignedUp { user: person, state: SignupState::Verify, position: None })
    }

    fn verify_token(&self, token: &Token, user_id: UserId, data_json: String) -> TokenRow {
        let now = self.now();
        TokenRow {
            hash: token.hash(),
            purpose: TokenPurpose::Verify,
            user_id,
            data_json,
            created_at: now,
            expires_at: now.plus_ms(VERIFY_MS),
        }
    }

    pub(crate) fn waiting_row(&self, user_id: UserId, tenant_name: TenantName) -> WaitingRow {
        WaitingRow { id: WaitingId::from_uuid(self.new_uuid()), user_id, tenant_name, created_at: self.now() }
    }

    pub(crate) fn new_tenant_row(&self, name: &TenantName) -> TenantRow {
        TenantRow { id: TenantId::from_uuid(self.new_uuid()), name: name.clone(), weight: WEIGHT_DEFAULT, created_at: self.now() }
    }

    /// Where an invitation leads.
    pub(crate) fn place_of(&self, invite: &InviteRow, tenant: &TenantName) -> Place {
        match &invite.to {
            InviteTo::Service(_) => Place::NewTenant(self.new_tenant_row(tenant)),
            InviteTo::Tenant { tenant, role, .. } => Place::Tenant(*tenant, *role),
        }
    }

    /// Where somebody goes who comes without an invitation.
    pub(crate) fn place_by_mode(&self, user: UserId, tenant: &TenantName) -> Result<Place, Error> {
        match self.people_settings().signup {
            SignupMode::Open => Ok(Place::NewTenant(self.new_tenant_row(tenant))),
            SignupMode::Preview => Ok(Place::Waiting(self.waiting_row(user, tenant.clone()))),
            SignupMode::Closed => Err(closed()),
        }
    }

    /// The invitation with this code, if it is for this address or for any.
    pub(crate) async fn shown_invite(&self, code: &str, email: Option<&Email>, origin: &Origin) -> Result<InviteRow, Error> {
        let now = self.now();
        self.people().limits.take(Limited::TokenFrom, &origin.to_string(), now)?;
        let hash = Token::read(code).ok_or_else(invalid_token)?.hash();
        let invite = self.store(move |store| store.invite_by_code(&hash, now)).await?.ok_or_else(invalid_token)?;
        match (invite.to.email(), email) {
            (Some(theirs), Some(email)) if theirs != email => Err(invalid_token()),
            _ => Ok(invite),
        }
    }

    /// Takes the token of a mail: of one that verifies an address, with the password that was typed into the form; or of
    /// an invitation to somebody who has an account.
    ///
    /// # Errors
    /// `invalid_token`, `invalid_request` without a password where one is needed, `invalid_credentials` for a wrong one,
    /// `conflict` for an invitation of somebody who has no account yet, `permission_denied` for a closed account,
    /// `rate_limited`.
    pub async fn verify(&self, shown: &ShownToken, origin: &Origin) -> Result<SignedUp, Error> {
        let now = self.now();
        self.people().limits.take(Limited::TokenFrom, &origin.to_string(), now)?;
        let hash = Token::read(&shown.token).ok_or_else(invalid_token)?.hash();
        let Some((token, user)) = self.store(move |store| store.token(&hash, TokenPurpose::Verify, now)).await? else {
            return self.accept_invite(&shown.token, origin).await;
        };
        let wishes: Wishes = serde_json::from_str(&token.data_json).map_err(Error::internal)?;
        let Some(password) = &shown.password else {
            return Err(Error::invalid("password", "Send the password that was chosen when signing up, as `password`."));
        };
        if !self.people().passwords.verify(password, Some(&wishes.password_hash)).await? {
            return Err(wrong_password());
        }
        let tenant: TenantName = wishes.tenant.parse().map_err(Error::internal)?;
        let invite = match wishes.invite {
            Some(id) => self.store(move |store| store.invite(id)).await?.filter(|invite| is_usable(invite, now)),
            None => None,
        };
        let place = match &invite {
            Some(invite) => self.place_of(invite, &tenant),
            None => self.place_by_mode(user.id, &tenant)?,
        };
        let password_hash = Some(wishes.password_hash);
        let user = UserRow { name: wishes.name, password_hash, verified_at: Some(now), address_proved: true, ..user };
        let (consumed, invite) = (Consumed::Token(hash), invite.map(|invite| invite.id));
        self.arrive(Newcomer { consumed, invite, ..Newcomer::new(user, Account::Claimed, place) }).await
    }

    /// Makes a user with an account a member of the tenant that it was invited to.
    async fn accept_invite(&self, code: &str, origin: &Origin) -> Result<SignedUp, Error> {
        let invite = self.shown_invite(code, None, origin).await?;
        let InviteTo::Tenant { tenant, role, email } = &invite.to else {
            return Err(Error::new(ErrorCode::Conflict, "This is an invite code: sign up with it as `invite`."));
        };
        let email = email.clone();
        let user = match self.store(move |store| store.user_by_email(&email)).await? {
            Some(user) if user.closed => return Err(closed_account()),
            Some(user) if user.verified_at.is_some() && user.address_proved => user,
            Some(user) if user.verified_at.is_some() => {
                let message = "Nobody has proved that the address of this account is theirs: sign up with this token as `invite`, which \
                               sets a new password.";
                return Err(Error::new(ErrorCode::Conflict, message));
            }
            _ => return Err(Error::new(ErrorCode::Conflict, "You have no account yet: sign up with this token as `invite`.")),
        };
        let place = Place::Tenant(*tenant, *role);
        self.arrive(Newcomer { invite: Some(invite.id), ..Newcomer::new(user, Account::Kept, place) }).await
    }

    /// Sends the mail that verifies an address again, if somebody has signed up with it. Says nothing of whether.
    ///
    /// # Errors
    /// `invalid_request`, `rate_limited`.
    pub fn resend_verification(&self, to: &Addressee, origin: &Origin) -> Result<(), Error> {
        let now = self.now();
        self.people().limits.take(Limited::FormFrom, &origin.to_string(), now)?;
        let email = read_email(&to.email)?;
        self.people().limits.take(Limited::SignupMailTo, email.as_str(), now)?;
        let control = self.clone();
        tokio::spawn(async move {
            if let Err(error) = control.resend(email, now).await {
                tracing::error!(message = error.message, context = error.context, "a mail was not sent again");
            }
        });
        Ok(())
    }

    async fn resend(&self, email: Email, now: Timestamp) -> Result<(), Error> {
        let address = email.clone();
        let Some(user) = self.store(move |store| store.user_by_email(&address)).await? else { return Ok(()) };
        let id = user.id;
        let Some(before) = self.store(move |store| store.newest_token(id, TokenPurpose::Verify, now)).await? else { return Ok(()) };
        let token = Token::generate()?;
        let row = self.verify_token(&token, user.id, before.data_json);
        match self.store(move |store| store.create_token(&row, TOKENS_MAX, None)).await {
            Err(StoreError::Missing) => return Ok(()),
            written => written?,
        }
        self.people().mailer.send(&email, letters::verify(&self.people_settings().public_url, &token));
        Ok(())
    }

    /// The tenants that a user is in.
    pub(crate) async fn tenants_of(&self, user: UserId) -> Result<Vec<TenantId>, Error> {
        let memberships = self.store(move |store| store.memberships(user)).await?;
        Ok(memberships.into_iter().map(|(tenant, _)| tenant.id).collect())
    }

    /// What the trail of each tenant says when a user's address is proved, and what was opened without that ends.
    pub(crate) fn proved_events(&self, by: &By, user: UserId, tenants: &[TenantId]) -> Vec<TrailRow> {
        let about = || json!({"ended": "sessions, invitations and keys from before"});
        tenants.iter().map(|tenant| self.event(Some(by), Some(*tenant), "user.address_proved", &user.to_string(), about())).collect()
    }

    /// Writes an arrival with the credit of a new tenant, and says where the newcomer stands.
    /// With a key that was used before, says only that it is done.
    pub(crate) async fn arrive(&self, newcomer: Newcomer) -> Result<SignedUp, Error> {
        let user = newcomer.user.id;
        let person = Person::from(&newcomer.user);
        let new_tenant = match &newcomer.place {
            Place::NewTenant(row) => Some(row.id),
            _ => None,
        };
        // Whom an operator lets in from the waiting list has signed up too.
        let by_signup = newcomer.by.is_none() || matches!(newcomer.consumed, Consumed::Waiting(_));
        let waits = matches!(newcomer.place, Place::Waiting(_));
        let claims = newcomer.account == Account::Claimed;
        let opened = if claims { self.tenants_of(user).await? } else { Vec::new() };
        let credit = new_tenant.filter(|_| by_signup).and_then(|tenant| self.signup_credit(tenant));
        let mut trail = self.arrival_events(&newcomer, &opened);
        trail.extend(credit.as_ref().map(|credit| {
            let about = json!({"amount": credit.transfer.amount, "note": credit.note});
            self.event(None, Some(credit.tenant), "credit.given", &credit.transfer.id.to_string(), about)
        }));
        let arrival = Arrival {
            trail,
            credit,
            user: newcomer.user,
            account: newcomer.account,
            identity: newcomer.identity,
            consumed: newcomer.consumed,
            invite: newcomer.invite,
            place: newcomer.place,
            now: self.now(),
            users_max: USERS_MAX,
            tenants_max: TENANTS_MAX,
            waiting_max: WAITING_MAX,
            once: newcomer.once,
        };
        let created = self.store(move |store| store.arrive(&arrival)).await.map_err(|error| match error {
            StoreError::Missing => invalid_token(),
            StoreError::Exists(_) => {
                Error::new(ErrorCode::Conflict, "There is an account with this address already: log in.").with_context(error)
            }
            other => other.into(),
        })?;
        if claims {
            // Keys that the account made before its address was proved have ended, also those of tenants that it has left.
            self.shared.keys.forget_all();
        }
        if let Created::Before(id) = created {
            let user = Person { id: Some(id), ..person };
            return Ok(SignedUp { user, state: SignupState::Ready, position: None });
        }
        if !waits {
            return Ok(SignedUp { user: person, state: SignupState::Ready, position: None });
        }
        let position = self.store(move |store| store.waiting_position(user)).await?;
        Ok(SignedUp { user: person, state: SignupState::Waiting, position })
    }

    fn arrival_events(&self, newcomer: &Newcomer, opened: &[TenantId]) -> Vec<TrailRow> {
        let user = &newcomer.user;
        let by = newcomer.by.clone().unwrap_or(By::User(user.id, user.email.clone()));
        let about = json!({"email": user.email.as_str()});
        let tenant = match &newcomer.place {
            Place::Tenant(tenant, _) => Some(*tenant),
            Place::NewTenant(row) => Some(row.id),
            Place::Nowhere | Place::Waiting(_) => None,
        };
        let mut events = self.proved_events(&by, user.id, opened);
        events.extend(newcomer.also.clone());
        if newcomer.account != Account::Kept {
            events.push(self.event(Some(&by), tenant, "user.created", &user.id.to_string(), about.clone()));
        }
        match &newcomer.place {
            Place::Nowhere => {}
            Place::Tenant(tenant, role) => {
                let about = json!({"email": user.email.as_str(), "role": role.as_str()});
                events.push(self.event(Some(&by), Some(*tenant), "member.joined", &user.id.to_string(), about));
            }
            Place::NewTenant(row) => {
                events.push(self.event(Some(&by), Some(row.id), "tenant.created", &row.id.to_string(), json!({"name": row.name.as_str()})));
            }
            Place::Waiting(_) => events.push(self.event(Some(&by), None, "user.waits", &user.id.to_string(), about)),
        }
        events
    }
}

impl Newcomer {
    /// Somebody who comes with nothing and uses nothing up.
    pub(crate) fn new(user: UserRow, account: Account, place: Place) -> Self {
        let consumed = Consumed::Nothing;
        Self { user, account, identity: None, consumed, invite: None, place, by: None, also: None, once: None }
    }
}

/// Whether somebody may sign up with the address of this account, who has proved that it is his, or has not.
fn is_free(known: &UserRow, has_proof: bool) -> bool {
    !known.closed && !known.address_proved && (known.verified_at.is_none() || (has_proof && !known.operator))
}

fn is_usable(invite: &InviteRow, now: Timestamp) -> bool {
    invite.uses < invite.uses_max && invite.expires_at > now
}
