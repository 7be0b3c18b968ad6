//! Chat templates, rendered as transformers' apply_chat_template renders them, in a sandbox: a template sees
//! plain data and the functions below; there is no loader, so no file can be included.
use crate::filters;
use crate::members;
use crate::methods;
use crate::python::{text_of, value_of};
use crate::tags::for_minijinja;
use minijinja::value::{Rest, Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind};
use serde::Deserialize;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

/// How deep blocks, macros and expressions may nest while a template runs.
const RECURSION: usize = 200;

#[derive(Deserialize, Clone)]
pub struct Limits {
    /// Instructions of the template.
    pub steps: u64,
    /// Bytes it may write.
    pub output: usize,
    /// Bytes it may hold while it runs.
    pub memory: usize,
    pub milliseconds: u64,
}

fn invalid(text: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, text.into())
}

fn strftime_now(format: &str) -> Result<String, Error> {
    let mut out = String::new();
    match write!(out, "{}", chrono::Local::now().format(format)) {
        Ok(()) => Ok(out),
        Err(_) => Err(invalid(format!("strftime_now does not know the format {format:?}"))),
    }
}

fn environment(limits: &Limits, raised: Arc<Mutex<Option<String>>>) -> Environment<'static> {
    let mut env = Environment::new();
    env.set_trim_blocks(true);
    env.set_lstrip_blocks(true);
    env.set_fuel(Some(limits.steps));
    env.set_recursion_limit(RECURSION);
    env.set_unknown_method_callback(methods::call);
    env.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    env.set_formatter(|out, _, value| match value.as_str() {
        Some(text) => out.write_str(text).map_err(Error::from),
        None => out.write_str(&text_of(value)?).map_err(Error::from),
    });
    env.add_function("debug", || -> Result<Value, Error> { Err(invalid("debug is not available")) });
    filters::add(&mut env);
    env.add_test("number", |value: &Value| matches!(value.kind(), ValueKind::Number | ValueKind::Bool));
    env.add_test("callable", |value: &Value| value.kind() == ValueKind::Plain);
    env.add_function("strftime_now", strftime_now);
    env.add_function("_sliced", crate::sequences::sliced);
    env.add_function("_member", members::member);
    env.add_function("_item", members::item);
    env.add_function("cycler", |items: Rest<Value>| minijinja_contrib::globals::cycler(items.0));
    env.add_function("joiner", minijinja_contrib::globals::joiner);
    env.add_function("raise_exception", move |text: Value| -> Result<Value, Error> {
        let text = text_of(&text)?;
        if let Ok(mut slot) = raised.lock() {
            *slot = Some(text.clone());
        }
        Err(invalid(text))
    });
    env
}

struct Bounded {
    bytes: Vec<u8>,
    most: usize,
    full: bool,
}

impl std::io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if bytes.len() > self.most - self.bytes.len() {
            self.full = true;
            return Err(std::io::Error::other("too much output"));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn explain(error: &Error, limits: &Limits) -> String {
    if error.kind() == ErrorKind::OutOfFuel {
        return format!("it takes more than {} steps; does it loop forever?", limits.steps);
    }
    let mut text = match error.detail() {
        Some(detail) => format!("{}: {detail}", error.kind()),
        None => error.kind().to_string(),
    };
    if let Some(line) = error.line() {
        let _ = write!(text, " (line {line})");
    }
    text
}

/// Renders `source` with the members of the JSON object `context` as variables.
pub fn render(source: &str, context: &str, limits: &Limits) -> Result<Vec<u8>, String> {
    let context: serde_json::Value =
        serde_json::from_str(context).map_err(|error| format!("the variables are no JSON: {error}"))?;
    let raised = Arc::new(Mutex::new(None));
    let env = environment(limits, raised.clone());
    let source = for_minijinja(source);
    let template = env.template_from_named_str("chat template", &source).map_err(|e| explain(&e, limits))?;
    let mut out = Bounded { bytes: Vec::new(), most: limits.output, full: false };
    let result = template.render_captured_to(value_of(context), &mut out).map(|_| ());
    match result {
        Ok(()) => Ok(out.bytes),
        Err(_) if out.full => Err(format!("it writes more than {} bytes", limits.output)),
        Err(error) => match raised.lock().ok().and_then(|mut slot| slot.take()) {
            Some(text) => Err(format!("it refuses this chat: {text}")),
            None => Err(explain(&error, limits)),
        },
    }
}
