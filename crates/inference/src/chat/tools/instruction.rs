//! How functions, calls and results are put into words, for templates that cannot show them.
//!
//! The form of a call is that of Llama 3.x, which most models know; [`super::stream`] reads it back.

use freehold_dialects::canonical::{Tool, ToolChoice};

use crate::chat::conversation::tool_value;
use crate::chat::python::json_line;

/// The paragraph for the system message.
pub fn text(tools: &[Tool], choice: &ToolChoice, parallel: bool) -> String {
    let mut text = String::from(
        "You can call the functions that are listed below. To call one, answer with nothing but a JSON object of the form \
         {\"name\": \"FUNCTION\", \"parameters\": {\"ARGUMENT\": VALUE}}.",
    );
    if parallel {
        text.push_str(" To call several functions, write one such object on each line.");
    }
    match choice {
        ToolChoice::Required => text.push_str(" You must call a function."),
        ToolChoice::Function(name) => {
            text.push_str(" You must call the function ");
            text.push_str(name);
            text.push('.');
        }
        ToolChoice::Auto | ToolChoice::None => text.push_str(" If no function is needed, answer in plain words."),
    }
    for tool in tools {
        text.push_str("\n\n");
        text.push_str(&json_line(&tool_value(tool)));
    }
    text
}

/// A function's result as a turn of the user.
pub fn result_text(name: Option<&str>, result: &str) -> String {
    match name {
        Some(name) => format!("The function {name} returned:\n{result}"),
        None => format!("The function returned:\n{result}"),
    }
}
