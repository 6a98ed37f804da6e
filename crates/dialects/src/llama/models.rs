//! Models: `GET /models` and `GET /models/{id}`.

use serde_json::{Value, json};

use crate::canonical::ModelCard;

/// One model.
pub fn encode(card: &ModelCard) -> Value {
    json!({"id": card.id, "created": card.created_s, "object": "model", "owned_by": card.owned_by})
}

/// All models.
pub fn encode_list(cards: &[ModelCard]) -> Value {
    json!({"data": cards.iter().map(encode).collect::<Vec<_>>()})
}
