//! The C interface; `tokenize/text_library.h` declares it for C++. No panic leaves it: each call returns a
//! status, and text that explains a failure. Whoever calls frees what it gets.
mod filters;
mod limits;
mod members;
mod methods;
mod python;
mod sequences;
mod tags;
mod template;
mod tokenizer;

use limits::Failure;
use std::time::Duration;
use tokenizers::Tokenizer;

pub const OK: i32 = 0;
pub const INVALID: i32 = 1;
pub const LIMIT: i32 = 2;
pub const PANIC: i32 = 3;

/// An array that Rust allocated.
#[repr(C)]
pub struct Array<T> {
    data: *mut T,
    size: usize,
}

impl<T> Array<T> {
    fn give(values: Vec<T>) -> Self {
        let boxed = values.into_boxed_slice();
        let size = boxed.len();
        Array { data: Box::into_raw(boxed).cast(), size }
    }
}

/// # Safety
/// `data` is null or holds `size` values for the life of the result.
unsafe fn slice<'a, T>(data: *const T, size: usize) -> &'a [T] {
    if data.is_null() || size == 0 {
        &[]
    } else {
        std::slice::from_raw_parts(data, size)
    }
}

fn text(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes).map_err(|error| format!("byte {} begins no UTF-8", error.valid_up_to()))
}

fn megabytes(bytes: usize) -> usize {
    bytes >> 20
}

/// Fills `error` and gives the status of a failure.
fn fail(failure: Failure, error: &mut Array<u8>) -> i32 {
    let (status, text) = match failure {
        Failure::Refused(text) => (INVALID, text),
        Failure::Memory(most) => (LIMIT, format!("it takes more than {} MiB of memory", megabytes(most))),
        Failure::Time(most) => (LIMIT, format!("it takes longer than {} s", most.as_secs())),
        Failure::Panic(text) => (PANIC, text),
    };
    *error = Array::give(text.into_bytes());
    status
}

fn finish<T>(result: Result<T, Failure>, out: &mut T, error: &mut Array<u8>) -> i32 {
    match result {
        Ok(value) => {
            *out = value;
            OK
        }
        Err(failure) => fail(failure, error),
    }
}

/// Reads the text of a tokenizer.json; the members of the JSON object `settings` replace parts of it.
///
/// # Safety
/// The pointers hold the sizes beside them; `out` and `error` point to writable values.
#[no_mangle]
pub unsafe extern "C" fn mlxmill_tokenizer_load(
    json: *const u8,
    json_size: usize,
    settings: *const u8,
    settings_size: usize,
    out: *mut *mut Tokenizer,
    error: *mut Array<u8>,
) -> i32 {
    // Measured: vocabularies take 10 to 25 times their text while they load.
    let memory = (64usize << 20).saturating_add(json_size.saturating_mul(64));
    let json = slice(json, json_size).to_vec();
    let settings = slice(settings, settings_size).to_vec();
    let result = limits::limited(limits::DEEP_STACK, memory, None, move || {
        let tokenizer = tokenizer::load(text(&json)?, text(&settings)?)?;
        Ok(Box::new(tokenizer))
    });
    finish(result.map(Box::into_raw), &mut *out, &mut *error)
}

/// # Safety
/// `tokenizer` is null or came from mlxmill_tokenizer_load and is used nowhere else.
#[no_mangle]
pub unsafe extern "C" fn mlxmill_tokenizer_free(tokenizer: *mut Tokenizer) {
    if !tokenizer.is_null() {
        drop(Box::from_raw(tokenizer));
    }
}

/// JSON: kind of model, count of tokens, decoder, added tokens.
///
/// # Safety
/// As mlxmill_tokenizer_load; `tokenizer` came from it.
#[no_mangle]
pub unsafe extern "C" fn mlxmill_tokenizer_describe(
    tokenizer: *const Tokenizer,
    out: *mut Array<u8>,
    error: *mut Array<u8>,
) -> i32 {
    let result = limits::guarded(|| tokenizer::describe(&*tokenizer));
    finish(result.map(|text| Array::give(text.into_bytes())), &mut *out, &mut *error)
}

/// # Safety
/// As mlxmill_tokenizer_load; `tokenizer` came from it.
#[no_mangle]
pub unsafe extern "C" fn mlxmill_tokenizer_encode(
    tokenizer: *const Tokenizer,
    data: *const u8,
    size: usize,
    add_special: bool,
    out: *mut Array<u32>,
    error: *mut Array<u8>,
) -> i32 {
    let bytes = slice(data, size);
    let result = limits::guarded(|| tokenizer::encode(&*tokenizer, text(bytes)?, add_special));
    finish(result.map(Array::give), &mut *out, &mut *error)
}

/// # Safety
/// As mlxmill_tokenizer_load; `tokenizer` came from it.
#[no_mangle]
pub unsafe extern "C" fn mlxmill_tokenizer_decode(
    tokenizer: *const Tokenizer,
    ids: *const u32,
    size: usize,
    skip_special: bool,
    out: *mut Array<u8>,
    error: *mut Array<u8>,
) -> i32 {
    let ids = slice(ids, size);
    let result = limits::guarded(|| tokenizer::decode(&*tokenizer, ids, skip_special));
    finish(result.map(|text| Array::give(text.into_bytes())), &mut *out, &mut *error)
}

/// The spelling of a token; INVALID where there is none of that id.
///
/// # Safety
/// As mlxmill_tokenizer_load; `tokenizer` came from it.
#[no_mangle]
pub unsafe extern "C" fn mlxmill_tokenizer_token(
    tokenizer: *const Tokenizer,
    id: u32,
    out: *mut Array<u8>,
    error: *mut Array<u8>,
) -> i32 {
    let result = limits::guarded(|| (*tokenizer).id_to_token(id).ok_or_else(|| "no such token".to_string()));
    finish(result.map(|text| Array::give(text.into_bytes())), &mut *out, &mut *error)
}

/// The id of a token by its spelling; INVALID where there is none.
///
/// # Safety
/// As mlxmill_tokenizer_load; `tokenizer` came from it.
#[no_mangle]
pub unsafe extern "C" fn mlxmill_tokenizer_id(
    tokenizer: *const Tokenizer,
    data: *const u8,
    size: usize,
    out: *mut u32,
    error: *mut Array<u8>,
) -> i32 {
    let bytes = slice(data, size);
    let result = limits::guarded(|| {
        (*tokenizer).token_to_id(text(bytes)?).ok_or_else(|| "no such token".to_string())
    });
    finish(result, &mut *out, &mut *error)
}

/// Renders a template with the members of the JSON object `context`, within `limits`, a JSON object.
///
/// # Safety
/// As mlxmill_tokenizer_load.
#[no_mangle]
pub unsafe extern "C" fn mlxmill_template_render(
    source: *const u8,
    source_size: usize,
    context: *const u8,
    context_size: usize,
    limits: *const u8,
    limits_size: usize,
    out: *mut Array<u8>,
    error: *mut Array<u8>,
) -> i32 {
    let source = slice(source, source_size).to_vec();
    let context = slice(context, context_size).to_vec();
    let limits = serde_json::from_slice::<template::Limits>(slice(limits, limits_size));
    let result = match limits {
        Err(error) => Err(Failure::Refused(error.to_string())),
        Ok(limits) => {
            let time = Duration::from_millis(limits.milliseconds);
            limits::limited(limits::STACK, limits.memory, Some(time), move || {
                template::render(text(&source)?, text(&context)?, &limits)
            })
        }
    };
    finish(result.map(Array::give), &mut *out, &mut *error)
}

/// # Safety
/// The array came from this library and is used nowhere else.
#[no_mangle]
pub unsafe extern "C" fn mlxmill_text_free_bytes(array: Array<u8>) {
    if !array.data.is_null() {
        drop(Box::from_raw(std::ptr::slice_from_raw_parts_mut(array.data, array.size)));
    }
}

/// # Safety
/// The array came from this library and is used nowhere else.
#[no_mangle]
pub unsafe extern "C" fn mlxmill_text_free_ids(array: Array<u32>) {
    if !array.data.is_null() {
        drop(Box::from_raw(std::ptr::slice_from_raw_parts_mut(array.data, array.size)));
    }
}
