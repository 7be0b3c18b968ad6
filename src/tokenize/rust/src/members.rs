//! Names of methods where Python looks for members: `tags` writes the calls.
use crate::methods;
use minijinja::value::{Object, ObjectRepr, Value};
use minijinja::{Error, State};
use std::fmt;
use std::sync::Arc;

/// A method that is not called: true, and with no members.
#[derive(Debug)]
struct Bound {
    value: Value,
    name: String,
}

impl Object for Bound {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }
    fn call(self: &Arc<Self>, state: &State<'_, '_>, arguments: &[Value]) -> Result<Value, Error> {
        methods::call(state, &self.value, &self.name, arguments)
    }
    fn render(self: &Arc<Self>, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "<built-in method {} of dict object>", self.name)
    }
}

/// The method of a dict; None where `value` is another kind of value.
fn bound(value: &Value, name: &str) -> Option<Value> {
    // A namespace is a map for MiniJinja, but no dict for Python.
    let object = value.as_object().filter(|object| object.repr() == ObjectRepr::Map)?;
    if object.type_name().contains("Namespace") {
        return None;
    }
    Some(Value::from_object(Bound { value: value.clone(), name: name.to_string() }))
}

/// `value.name` where `name` is a method of a dict: the method, whatever keys there are.
pub fn member(value: Value, name: &str) -> Result<Value, Error> {
    match bound(&value, name) {
        Some(method) => Ok(method),
        None => value.get_attr(name),
    }
}

/// `value['name']`: the method where there is no such key.
pub fn item(value: Value, name: &str) -> Result<Value, Error> {
    if value.is_undefined() {
        return value.get_attr(name);
    }
    let found = value.get_attr(name)?;
    Ok(if found.is_undefined() { bound(&value, name).unwrap_or(found) } else { found })
}
