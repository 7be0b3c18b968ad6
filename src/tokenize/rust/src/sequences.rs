//! What Python's iterators and views of dicts do otherwise than lists.
use crate::python::text_of;
use minijinja::value::{Enumerator, Object, ObjectRepr, Value};
use minijinja::{Error, ErrorKind};
use std::fmt;
use std::sync::{Arc, Mutex};

/// What `map`, `select` and their like give: it can be gone through once, has no length, and is true even where nothing is in it.
#[derive(Debug)]
pub struct Generator(Mutex<Vec<Value>>);

impl Generator {
    pub fn of(items: Vec<Value>) -> Value {
        Value::from_object(Generator(Mutex::new(items)))
    }
}

impl Object for Generator {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Iterable
    }
    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.0.lock().map(|mut items| std::mem::take(&mut *items)).unwrap_or_default())
    }
    fn enumerator_len(self: &Arc<Self>) -> Option<usize> {
        None
    }
    fn is_true(self: &Arc<Self>) -> bool {
        true
    }
    fn render(self: &Arc<Self>, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("<generator object>")
    }
}

/// The keys, values or items of a dict: a length, but no places.
#[derive(Debug)]
pub struct View {
    name: &'static str,
    items: Vec<Value>,
}

impl View {
    pub fn of(name: &'static str, items: Vec<Value>) -> Value {
        Value::from_object(View { name, items })
    }
}

impl Object for View {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Iterable
    }
    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.items.clone())
    }
    fn enumerator_len(self: &Arc<Self>) -> Option<usize> {
        Some(self.items.len())
    }
    fn render(self: &Arc<Self>, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let items = text_of(&Value::from(self.items.clone())).map_err(|_| fmt::Error)?;
        write!(out, "{}({items})", self.name)
    }
}

/// Neither a sequence nor anything that becomes JSON.
pub fn is_lazy(value: &Value) -> bool {
    value.downcast_object_ref::<Generator>().is_some() || value.downcast_object_ref::<View>().is_some()
}

/// What a loop goes through: anything but none, of which MiniJinja makes an empty list. Of a text it makes something that does
/// not know where it ends, so the loop would not know its last turn.
pub fn iterated(value: Value) -> Result<Value, Error> {
    if value.is_none() {
        return Err(Error::new(ErrorKind::InvalidOperation, "none cannot be iterated over"));
    }
    if let Some(text) = value.as_str() {
        return Ok(text.chars().map(Value::from).collect::<Vec<_>>().into());
    }
    Ok(value)
}

/// What a slice is taken of: neither none nor undefined, of which MiniJinja takes an empty list.
pub fn sliced(value: Value) -> Result<Value, Error> {
    if value.is_none() || value.is_undefined() {
        return Err(Error::new(ErrorKind::InvalidOperation, format!("{} has no slices", value.kind())));
    }
    Ok(value)
}
