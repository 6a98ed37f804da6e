//! Vouchers: codes that an operator gives out and a tenant turns into credit.
//!
//! **Invariant:** a code leaves the service once, in the answer to the call that made it; only its hash is kept.

use freehold_domain::{Currency, Error, ErrorCode, NanoUnits, Timestamp, TransferId, VoucherId};
use freehold_ledger::{AccountKind, Reason, derive};
use freehold_store::{Created, Movement, Note, Redeemed, VoucherRow};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use super::credit::{BalanceView, read_amount, read_note, said};
use crate::auth::{Action, Actor, permit};
use crate::facade::Control;
use crate::once::IdempotencyKey;
use crate::page::{Page, PageRequest};

/// The most vouchers that a service has.
const VOUCHERS_MAX: u32 = 100_000;
const USES_MAX: u32 = 1_000_000;
/// Letters of a code that cannot be mistaken for each other; 32 of them, 5 bits each.
const LETTERS: &[u8; 32] = b"23456789ABCDEFGHJKLMNPQRSTUVWXYZ";
/// Groups of five letters: 100 bits.
const CODE_GROUPS: usize = 4;

/// A voucher to make.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewVoucher {
    /// What it gives, in nano-units.
    #[schema(value_type = String, pattern = "^([1-9][0-9]{0,17}|1000000000000000000)$", example = "5000000000")]
    pub amount: NanoUnits,
    /// How many tenants may redeem it, 1 to 1000000; 1 when it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 1000000)]
    pub uses: Option<u32>,
    /// It is good before this time; left out: for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    /// What it is for.
    #[serde(default)]
    #[schema(max_length = 500)]
    pub note: String,
}

/// A voucher, as it is shown: never its code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VoucherView {
    /// Its id.
    #[schema(value_type = String)]
    pub id: VoucherId,
    /// The code's first letters.
    pub hint: String,
    /// What it gives.
    #[schema(value_type = String)]
    pub amount: NanoUnits,
    /// The currency.
    #[schema(value_type = String)]
    pub currency: Currency,
    /// How many tenants have redeemed it.
    pub redeemed: u32,
    /// How many may.
    pub uses: u32,
    /// What it is for.
    pub note: String,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// It is good before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
}

/// A voucher with its code, which is shown this once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VoucherWithCode {
    /// The voucher.
    #[serde(flatten)]
    pub voucher: VoucherView,
    /// What to give to the customer. Left out when this call was made before: the code cannot be shown again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
}

impl std::fmt::Debug for VoucherWithCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VoucherWithCode").field("voucher", &self.voucher).finish_non_exhaustive()
    }
}

/// A code to redeem.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Redemption {
    /// The code; spaces, dashes and case do not matter.
    pub code: String,
    /// The tenant that gets the credit, for operators; left out: the caller's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
}

impl std::fmt::Debug for Redemption {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redemption").field("tenant", &self.tenant).finish_non_exhaustive()
    }
}

fn new_code() -> Result<String, Error> {
    let mut bytes = [0; CODE_GROUPS * 5];
    getrandom::fill(&mut bytes).map_err(|error| Error::internal(format!("no randomness for a code: {error}")))?;
    let letters: Vec<u8> = bytes.iter().map(|byte| LETTERS[usize::from(byte & 31)]).collect();
    Ok(letters.chunks(5).map(|group| String::from_utf8_lossy(group).into_owned()).collect::<Vec<_>>().join("-"))
}

fn hash(code: &str) -> [u8; 32] {
    let plain: String = code.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_uppercase()).collect();
    Sha256::digest(plain.as_bytes()).into()
}

impl Control {
    /// Makes a voucher.
    ///
    /// # Errors
    /// `permission_denied` for a tenant, `invalid_request`.
    pub async fn create_voucher(&self, actor: &Actor, new: NewVoucher, once: Option<&IdempotencyKey>) -> Result<VoucherWithCode, Error> {
        permit(actor, Action::ManagePrices)?;
        read_amount(new.amount)?;
        read_note(&new.note)?;
        let uses_max = new.uses.unwrap_or(1);
        if !(1..=USES_MAX).contains(&uses_max) {
            return Err(Error::invalid("uses", format!("`uses` is 1 to {USES_MAX}, not {uses_max}.")));
        }
        let now = self.now();
        if new.expires_at.is_some_and(|at| at <= now) {
            return Err(Error::invalid("expires_at", "`expires_at` must be in the future."));
        }
        let once = once.map(|once| once.once(actor, "create_voucher", &new, now)).transpose()?;
        let code = new_code()?;
        let row = VoucherRow {
            id: VoucherId::from_uuid(self.new_uuid()),
            hint: format!("{}-…", &code[..5]),
            amount: new.amount,
            uses: 0,
            uses_max,
            note: new.note,
            created_at: now,
            expires_at: new.expires_at,
        };
        let event =
            self.event(Some(&actor.by()), None, "voucher.created", &row.id.to_string(), json!({"amount": row.amount, "uses": uses_max}));
        let (stored, code_hash) = (row.clone(), hash(&code));
        let said = move |store: &freehold_store::Store| {
            store.create_voucher(&stored, &code_hash, VOUCHERS_MAX, Note { once: once.as_ref(), trail: Some(&event) })
        };
        match self.store(said).await? {
            Created::New => Ok(VoucherWithCode { voucher: self.voucher_view(row), code: Some(code) }),
            Created::Before(id) => {
                let before = VoucherId::from_uuid(uuid::Uuid::from_u128(id.to_uuid().as_u128().saturating_sub(1)));
                let found = self.store(move |store| store.vouchers(Some(before), 1)).await?;
                let row = found.into_iter().find(|row| row.id == id).ok_or_else(|| Error::internal("a voucher is gone"))?;
                Ok(VoucherWithCode { voucher: self.voucher_view(row), code: None })
            }
        }
    }

    /// All vouchers, oldest first.
    ///
    /// # Errors
    /// `permission_denied` for a tenant, `invalid_request` for a bad page.
    pub async fn list_vouchers(&self, actor: &Actor, page: &PageRequest) -> Result<Page<VoucherView>, Error> {
        permit(actor, Action::ManagePrices)?;
        let (limit, after) = page.read::<VoucherId>()?;
        let rows = self.store(move |store| store.vouchers(after, limit + 1)).await?;
        Ok(Page::of(rows, limit, |row| row.id.to_string(), |row| self.voucher_view(row)))
    }

    /// Turns a code into credit.
    ///
    /// # Errors
    /// `not_found` for a code that is unknown, used up or expired, `conflict` for one that the tenant had before.
    pub async fn redeem_voucher(&self, actor: &Actor, redemption: Redemption) -> Result<BalanceView, Error> {
        let tenant = self.billed_tenant(actor, redemption.tenant.as_deref()).await?;
        permit(actor, Action::ManageBilling(tenant))?;
        let (now, currency, code_hash) = (self.now(), self.shared.billing.currency, hash(&redemption.code));
        let event = self.event(Some(&actor.by()), Some(tenant), "voucher.redeemed", &tenant.to_string(), json!({}));
        let redeemed = {
            let _changing = self.shared.billing.changing.lock().await;
            self.load_under_lock(tenant, None).await?;
            let movement = move |row: &VoucherRow| {
                let id: TransferId = derive::transfer_id(tenant, "voucher", &row.id.to_string());
                let accounts = (AccountKind::OperatorCredit, AccountKind::Customer);
                Movement::new(id, accounts, tenant, currency, row.amount, Reason::Voucher(row.id), now).with_note(&row.hint)
            };
            let redeemed = self.store(move |store| store.redeem_voucher(&code_hash, tenant, now, movement, said(&event))).await?;
            if let Redeemed::Done(row) = &redeemed {
                self.shared.billing.meter().post(movement(row).transfer);
            }
            redeemed
        };
        match redeemed {
            Redeemed::Done(_) => self.balance(actor, redemption.tenant.as_deref()).await,
            Redeemed::Before => Err(Error::new(ErrorCode::Conflict, "This tenant has redeemed this voucher already.").with_param("code")),
            Redeemed::Unknown => {
                Err(Error::new(ErrorCode::NotFound, "There is no such voucher, or it is used up or over.").with_param("code"))
            }
        }
    }

    fn voucher_view(&self, row: VoucherRow) -> VoucherView {
        VoucherView {
            id: row.id,
            hint: row.hint,
            amount: row.amount,
            currency: self.shared.billing.currency,
            redeemed: row.uses,
            uses: row.uses_max,
            note: row.note,
            created_at: row.created_at,
            expires_at: row.expires_at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_the_same_however_it_is_typed() {
        let code = new_code().expect("a code");
        assert_eq!(code.len(), 23);
        assert_eq!(hash(&code), hash(&code.to_lowercase().replace('-', " ")));
        assert_ne!(hash(&code), hash(&new_code().expect("a code")));
    }
}
