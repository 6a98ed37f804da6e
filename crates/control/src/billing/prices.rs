//! The price list: what it says, and new versions of it.
//!
//! **Invariant:** a version holds from a moment that was still to come when it was stored, so no request changes its
//! price while it runs.

use std::collections::BTreeMap;

use freehold_domain::{Currency, Error, ErrorCode, NanoUnits, PriceListId, Timestamp};
use freehold_ledger::prices::{PriceError, PriceList, Prices, TokenPrice};
use freehold_store::{Created, Note};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::meter::FREE_NUMBER;
use crate::auth::{Action, Actor, permit};
use crate::facade::Control;
use crate::once::IdempotencyKey;

/// A version begins at least so long after it was asked for: until then it is on the disk and in memory.
const LEAD_MS: i64 = 1000;

/// What 1,000,000 tokens of a model cost, in nano-units.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenPriceView {
    /// Tokens of the prompt that had to be computed.
    #[schema(value_type = String, pattern = "^[0-9]{1,18}$", example = "200000000")]
    pub input: NanoUnits,
    /// Tokens of the prompt that a cache had; as `input` when it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, pattern = "^[0-9]{1,18}$", example = "50000000")]
    pub cached: Option<NanoUnits>,
    /// Tokens of the answer.
    #[schema(value_type = String, pattern = "^[0-9]{1,18}$", example = "600000000")]
    pub output: NanoUnits,
}

/// A version of the price list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PricesView {
    /// Its number: 1, 2, 3 and so on. 0: none was published, everything is free.
    pub number: u32,
    /// From when it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub effective_at: Option<Timestamp>,
    /// The currency of every price.
    #[schema(value_type = String, example = "EUR")]
    pub currency: Currency,
    /// Prices of 1,000,000 tokens in nano-units, by model; `*` is every model without an entry of its own.
    pub models: BTreeMap<String, TokenPriceView>,
    /// Prices of a second in nano-units, by sku.
    #[schema(value_type = Object)]
    pub skus: BTreeMap<String, NanoUnits>,
    /// The version after it, where one is published already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(no_recursion)]
    pub upcoming: Option<Box<PricesView>>,
}

/// A version to publish.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPrices {
    /// From when it holds; left out: at once, which is in a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub effective_at: Option<Timestamp>,
    /// The service's currency; may be left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub currency: Option<Currency>,
    /// Prices of 1,000,000 tokens in nano-units, by model; `*` is every model without an entry of its own.
    #[serde(default)]
    pub models: BTreeMap<String, TokenPriceView>,
    /// Prices of a second in nano-units, by sku.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub skus: BTreeMap<String, NanoUnits>,
}

fn show(list: &PriceList, upcoming: Option<&PriceList>) -> PricesView {
    let price = |price: &TokenPrice| TokenPriceView { input: price.input, cached: Some(price.cached), output: price.output };
    PricesView {
        number: list.number,
        effective_at: Some(list.effective_at),
        currency: list.currency,
        models: list.models.iter().map(|(name, entry)| (name.clone(), price(entry))).collect(),
        skus: list.skus.clone(),
        upcoming: upcoming.map(|next| Box::new(show(next, None))),
    }
}

impl Control {
    /// The price list that holds at a time, or now. Everybody may see it.
    pub fn prices(&self, at: Option<Timestamp>) -> PricesView {
        let prices = self.shared.billing.meter().prices();
        let moment = at.unwrap_or_else(|| self.now());
        let next = prices.all().iter().find(|list| list.effective_at > moment);
        match prices.at(moment) {
            Ok(list) => show(list, next),
            Err(_) => PricesView {
                number: FREE_NUMBER,
                effective_at: None,
                currency: self.shared.billing.currency,
                models: BTreeMap::new(),
                skus: BTreeMap::new(),
                upcoming: next.map(|next| Box::new(show(next, None))),
            },
        }
    }

    /// Publishes a version of the price list.
    ///
    /// # Errors
    /// `permission_denied`, `invalid_request` for prices that make no sense, `conflict` for one that would begin before
    /// the newest.
    pub async fn publish_prices(&self, actor: &Actor, new: NewPrices, once: Option<&IdempotencyKey>) -> Result<PricesView, Error> {
        permit(actor, Action::ManagePrices)?;
        let billing = &self.shared.billing;
        if let Some(currency) = new.currency.filter(|currency| *currency != billing.currency) {
            let message = format!("This service sells in {} (option `currency`), not in {currency}.", billing.currency);
            return Err(Error::invalid("currency", message));
        }
        if new.models.is_empty() && new.skus.is_empty() {
            return Err(Error::invalid("models", "A price list without a price sells nothing: name a model, or `*` for all."));
        }
        let now = self.now();
        if let Some(at) = new.effective_at.filter(|at| *at < now) {
            return Err(Error::invalid("effective_at", format!("`effective_at` is {at}, which is over: prices never change backwards.")));
        }
        let once = once.map(|once| once.once(actor, "publish_prices", &new, now)).transpose()?;
        let _changing = billing.changing.lock().await;
        let mut prices = Prices::clone(&billing.meter().prices());
        let list = self.next_list(&prices, new, now);
        let number = list.number;
        prices.publish(list.clone(), now).map_err(refused)?;
        let event = self.event(Some(&actor.by()), None, "prices.published", &list.id.to_string(), json!({"number": number}));
        let created = self.store(move |store| store.add_price_list(&list, now, Note { once: once.as_ref(), trail: Some(&event) })).await?;
        let number = match created {
            Created::New => {
                billing.meter().set_prices(prices);
                number
            }
            Created::Before(number) => number,
        };
        let prices = billing.meter().prices();
        prices.number(number).map(|list| show(list, None)).ok_or_else(|| Error::internal("a published price list is gone"))
    }

    fn next_list(&self, prices: &Prices, new: NewPrices, now: Timestamp) -> PriceList {
        let price = |view: TokenPriceView| TokenPrice { input: view.input, cached: view.cached.unwrap_or(view.input), output: view.output };
        PriceList {
            id: PriceListId::from_uuid(self.new_uuid()),
            number: prices.next_number(),
            effective_at: new.effective_at.unwrap_or(now).max(now.plus_ms(LEAD_MS)),
            currency: self.shared.billing.currency,
            models: new.models.into_iter().map(|(name, view)| (name, price(view))).collect(),
            skus: new.skus,
        }
    }
}

fn refused(error: PriceError) -> Error {
    match error {
        PriceError::NotLater { .. } => Error::new(ErrorCode::Conflict, format!("{error}.")).with_param("effective_at"),
        PriceError::Past { .. } => Error::invalid("effective_at", format!("{error}.")),
        other => Error::invalid("models", format!("{other}.")),
    }
}
