//! Runs work on untrusted input with bounds on memory, time and stack.
//!
//! Rust aborts when an allocation fails, and nothing can unwind out of an allocator. So limited work runs in
//! a thread of its own, and its first allocation past the bound parks that thread for good: whoever waits for
//! it gets an error, and what the thread holds, at most the bound, stays held until the program ends.
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Once};
use std::thread::Thread;
use std::time::{Duration, Instant};

/// Enough for every recursion that the parsers' own depth limits allow.
const STACK_BYTES: usize = 64 << 20;
/// Parked threads are memory that is lost: past so many, limited work is refused.
const MAX_PARKED: u32 = 16;

const RUNNING: u32 = 0;
const DONE: u32 = 1;
const OUT_OF_MEMORY: u32 = 2;
const OUT_OF_TIME: u32 = 3;

static PARKED: AtomicU32 = AtomicU32::new(0);

pub enum Failure {
    /// The work gave this error.
    Refused(String),
    Memory(usize),
    Time(Duration),
    Panic(String),
}

struct Watch {
    state: AtomicU32,
    waiter: Thread,
    budget: isize,
}

#[derive(Clone, Copy)]
struct Meter {
    watch: *const Watch,
    used: isize,
}

thread_local! {
    // No destructor and no lazy start: an allocator may look at it at any time.
    static METER: Cell<Meter> = const { Cell::new(Meter { watch: std::ptr::null(), used: 0 }) };
    static IN_CALL: Cell<bool> = const { Cell::new(false) };
    static PANIC_TEXT: Cell<Option<String>> = const { Cell::new(None) };
}

struct Metered;

fn charge(bytes: isize) {
    let _ = METER.try_with(|cell| {
        let mut meter = cell.get();
        if meter.watch.is_null() {
            return;
        }
        meter.used += bytes;
        cell.set(meter);
        if bytes <= 0 {
            return;
        }
        // SAFETY: the thread that set the pointer keeps the Watch alive until it clears the pointer.
        let watch = unsafe { &*meter.watch };
        let over = meter.used > watch.budget
            && watch.state.compare_exchange(RUNNING, OUT_OF_MEMORY, Ordering::AcqRel, Ordering::Acquire).is_ok();
        if over {
            watch.waiter.unpark();
        }
        if over || watch.state.load(Ordering::Acquire) != RUNNING {
            PARKED.fetch_add(1, Ordering::AcqRel);
            loop {
                std::thread::park();
            }
        }
    });
}

// SAFETY: every call goes to the system's allocator with the arguments it came with.
unsafe impl GlobalAlloc for Metered {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        charge(layout.size() as isize);
        System.alloc(layout)
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        charge(layout.size() as isize);
        System.alloc_zeroed(layout)
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        charge(-(layout.size() as isize));
        System.dealloc(pointer, layout)
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        charge(size as isize - layout.size() as isize);
        System.realloc(pointer, layout, size)
    }
}

#[global_allocator]
static ALLOCATOR: Metered = Metered;

/// Panics inside calls are errors of those calls and print nothing.
fn install_hook() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if IN_CALL.with(Cell::get) {
                let text = info.payload().downcast_ref::<&str>().map(|text| text.to_string());
                let text = text.or_else(|| info.payload().downcast_ref::<String>().cloned());
                PANIC_TEXT.with(|cell| cell.set(text));
            } else {
                before(info);
            }
        }));
    });
}

/// Runs `work` here; a panic is an error.
pub fn guarded<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, Failure> {
    install_hook();
    let before = IN_CALL.with(|cell| cell.replace(true));
    let result = catch_unwind(AssertUnwindSafe(work));
    IN_CALL.with(|cell| cell.set(before));
    match result {
        Ok(result) => result.map_err(Failure::Refused),
        Err(_) => {
            let text = PANIC_TEXT.with(Cell::take);
            Err(Failure::Panic(text.unwrap_or_else(|| "without a text".to_string())))
        }
    }
}

/// Runs `work` in a thread that may hold `memory` bytes at once and take `time`.
pub fn limited<T: Send + 'static>(
    memory: usize,
    time: Option<Duration>,
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, Failure> {
    if PARKED.load(Ordering::Acquire) >= MAX_PARKED {
        return Err(Failure::Memory(memory));
    }
    let budget = isize::try_from(memory).unwrap_or(isize::MAX);
    let watch = Arc::new(Watch { state: AtomicU32::new(RUNNING), waiter: std::thread::current(), budget });
    let slot: Arc<Mutex<Option<Result<T, Failure>>>> = Arc::new(Mutex::new(None));
    let (its_watch, its_slot) = (watch.clone(), slot.clone());
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(move || {
        METER.with(|cell| cell.set(Meter { watch: Arc::as_ptr(&its_watch), used: 0 }));
        let result = guarded(work);
        METER.with(|cell| cell.set(Meter { watch: std::ptr::null(), used: 0 }));
        if let Ok(mut guard) = its_slot.lock() {
            *guard = Some(result);
        }
        let _ = its_watch.state.compare_exchange(RUNNING, DONE, Ordering::AcqRel, Ordering::Acquire);
        its_watch.waiter.unpark();
    });
    let thread = thread.map_err(|error| Failure::Refused(format!("cannot start a thread: {error}")))?;
    wait(&watch, time);
    match watch.state.load(Ordering::Acquire) {
        DONE => {
            let _ = thread.join();
            let result = slot.lock().ok().and_then(|mut guard| guard.take());
            result.unwrap_or_else(|| Err(Failure::Panic("without a result".to_string())))
        }
        OUT_OF_TIME => Err(Failure::Time(time.unwrap_or_default())),
        _ => Err(Failure::Memory(memory)),
    }
}

fn wait(watch: &Watch, time: Option<Duration>) {
    let end = time.map(|time| Instant::now() + time);
    while watch.state.load(Ordering::Acquire) == RUNNING {
        let Some(end) = end else {
            std::thread::park();
            continue;
        };
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            // The thread stops at its next allocation.
            let _ = watch.state.compare_exchange(RUNNING, OUT_OF_TIME, Ordering::AcqRel, Ordering::Acquire);
            return;
        }
        std::thread::park_timeout(left);
    }
}
