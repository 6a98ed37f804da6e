//! Lists of models.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::canonical::ModelCard;
use freehold_domain::Error;

/// One model.
pub fn encode(card: &ModelCard) -> Value {
    json!({"id": card.id, "object": "model", "created": card.created_s, "owned_by": card.owned_by})
}

/// All models.
pub fn encode_list(cards: &[ModelCard]) -> Value {
    json!({"object": "list", "data": cards.iter().map(encode).collect::<Vec<_>>()})
}

/// Reads a server's list of models.
///
/// # Errors
/// A body that is not such a list.
pub fn decode_list(body: &[u8]) -> Result<Vec<ModelCard>, Error> {
    #[derive(Deserialize)]
    struct List {
        data: Vec<Card>,
    }
    #[derive(Deserialize)]
    struct Card {
        id: String,
        #[serde(default)]
        created: i64,
        #[serde(default)]
        owned_by: String,
    }
    let list: List = serde_json::from_slice(body).map_err(|fault| Error::internal(format!("a list of models: {fault}")))?;
    Ok(list.data.into_iter().map(|card| ModelCard { id: card.id, created_s: card.created, owned_by: card.owned_by }).collect())
}
