// SPDX-License-Identifier: GPL-3.0-or-later
//! What happens to domains, as libvirt says it. The bindings have no domain events: these are
//! libvirt's own functions (libvirt.org/html/libvirt-libvirt-domain.html).
#![allow(unsafe_code)]

use std::ffi::{CStr, c_int, c_void};
use std::fmt;
use std::mem::transmute;
use std::ptr::null_mut;
use std::sync::{Arc, OnceLock};
use std::thread;

use anyhow::{Context, Result, anyhow};
use virt::connect::Connect;
use virt::error::{Error, clear_error_callback};
use virt::sys;

use crate::hypervisor::words;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A domain has ended, and how.
    Ended(String, Ending),
    /// Something else happened to a domain: it was started, paused, resumed.
    Changed(String),
    /// libvirt ended, or the connection to it did: no more events come.
    Closed,
}

/// How a domain ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Its guest shut down.
    ShutDown,
    /// Its guest crashed.
    Crashed,
    /// Somebody destroyed it, or libvirt does not say.
    Other,
}

type Listener = Arc<dyn Fn(Event) + Send + Sync>;

/// Listening to libvirt, until it is dropped.
pub struct Events {
    connect: Connect,
    id: c_int,
}

impl Events {
    /// Calls `listener` with whatever happens from now on, in a thread of libvirt's.
    ///
    /// # Errors
    /// libvirt does not run, or its driver has no events.
    pub fn listen(uri: &str, listener: impl Fn(Event) + Send + Sync + 'static) -> Result<Self> {
        run_loop()?;
        clear_error_callback();
        let connect = Connect::open(Some(uri))
            .map_err(words)
            .with_context(|| format!("connecting to libvirt at {uri}"))?;
        let listener: Listener = Arc::new(listener);
        // SAFETY: an event with this id calls what is a virConnectDomainEventCallback: libvirt's own
        // macro VIR_DOMAIN_EVENT_CALLBACK makes the same cast.
        let callback: unsafe extern "C" fn(sys::virConnectPtr, sys::virDomainPtr, *mut c_void) =
            unsafe { transmute(on_event as Lifecycle) };
        // SAFETY: the connection is open. libvirt calls `release` once when it needs the listener no
        // more, and only then; without a domain it is told of all.
        let id = unsafe {
            sys::virConnectDomainEventRegisterAny(
                connect.as_ptr(),
                null_mut(),
                sys::VIR_DOMAIN_EVENT_ID_LIFECYCLE as c_int,
                Some(callback),
                to_pointer(&listener),
                Some(release),
            )
        };
        if id < 0 {
            return Err(words(Error::last_error())).context("listening to libvirt");
        }
        // SAFETY: as above. Drivers within this process (the test driver) never close and may
        // refuse: they do not call `release` then.
        let closing = unsafe {
            let pointer = to_pointer(&listener);
            let closing = sys::virConnectRegisterCloseCallback(
                connect.as_ptr(),
                Some(on_close),
                pointer,
                Some(release),
            );
            if closing < 0 {
                release(pointer);
            }
            closing
        };
        if closing < 0 && uri.starts_with("xen:") {
            return Err(words(Error::last_error())).context("listening to libvirt");
        }
        Ok(Self { connect, id })
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        // SAFETY: the connection is open, and the number is of a callback of it. What it says does
        // not matter: it is closed.
        unsafe {
            sys::virConnectDomainEventDeregisterAny(self.connect.as_ptr(), self.id);
            sys::virConnectUnregisterCloseCallback(self.connect.as_ptr(), Some(on_close));
        }
        let _ = self.connect.close();
    }
}

/// Lets a thread run libvirt's event loop, once in this process: without one no events come.
fn run_loop() -> Result<()> {
    static LOOP: OnceLock<bool> = OnceLock::new();
    let runs = LOOP.get_or_init(|| {
        // SAFETY: it takes nothing, and is called once, before any connection that needs it.
        if unsafe { sys::virEventRegisterDefaultImpl() } < 0 {
            return false;
        }
        let turn = || loop {
            // SAFETY: the implementation is registered, and no other thread runs it.
            unsafe { sys::virEventRunDefaultImpl() };
        };
        let thread = thread::Builder::new().name("libvirt-events".into());
        thread.spawn(turn).is_ok()
    });
    match runs {
        true => Ok(()),
        false => Err(anyhow!("libvirt's event loop cannot be started")),
    }
}

type Lifecycle =
    unsafe extern "C" fn(sys::virConnectPtr, sys::virDomainPtr, c_int, c_int, *mut c_void) -> c_int;

unsafe extern "C" fn on_event(
    _: sys::virConnectPtr,
    domain: sys::virDomainPtr,
    event: c_int,
    detail: c_int,
    listener: *mut c_void,
) -> c_int {
    // SAFETY: libvirt lends a domain for as long as this takes, and a name with it.
    let name = unsafe {
        let name = sys::virDomainGetName(domain);
        if name.is_null() {
            return 0;
        }
        CStr::from_ptr(name).to_string_lossy().into_owned()
    };
    // SAFETY: it was made by `to_pointer` and not released yet.
    let listener = unsafe { &*listener.cast::<Listener>() };
    listener(meaning(name, event.cast_unsigned(), detail.cast_unsigned()));
    0
}

fn meaning(name: String, event: u32, detail: u32) -> Event {
    match (event, detail) {
        (sys::VIR_DOMAIN_EVENT_STOPPED, sys::VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN) => {
            Event::Ended(name, Ending::ShutDown)
        }
        (sys::VIR_DOMAIN_EVENT_STOPPED, sys::VIR_DOMAIN_EVENT_STOPPED_CRASHED) => {
            Event::Ended(name, Ending::Crashed)
        }
        (sys::VIR_DOMAIN_EVENT_STOPPED, _) => Event::Ended(name, Ending::Other),
        _ => Event::Changed(name),
    }
}

unsafe extern "C" fn on_close(_: sys::virConnectPtr, _: c_int, listener: *mut c_void) {
    // SAFETY: it was made by `to_pointer` and not released yet.
    let listener = unsafe { &*listener.cast::<Listener>() };
    listener(Event::Closed);
}

fn to_pointer(listener: &Listener) -> *mut c_void {
    Box::into_raw(Box::new(Arc::clone(listener))).cast()
}

unsafe extern "C" fn release(listener: *mut c_void) {
    // SAFETY: it was made by `to_pointer`, and libvirt releases it once.
    drop(unsafe { Box::from_raw(listener.cast::<Listener>()) });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Hypervisor;
    use std::sync::mpsc::channel;
    use std::time::Duration;

    #[test]
    fn what_libvirt_says_is_understood() {
        let meaning = |event, detail| meaning("db".into(), event, detail);
        let ended = |ending| Event::Ended("db".into(), ending);
        assert_eq!(meaning(5, 0), ended(Ending::ShutDown));
        assert_eq!(meaning(5, 2), ended(Ending::Crashed));
        assert_eq!(meaning(5, 1), ended(Ending::Other));
        assert_eq!(meaning(2, 0), Event::Changed("db".into()));
    }

    #[test]
    fn a_domain_that_is_made_and_destroyed_is_heard_of() {
        let (say, hear) = channel();
        let uri = "test:///default";
        let events = Events::listen(uri, move |event| drop(say.send(event))).expect("listen");
        let hypervisor = Hypervisor::open(uri).expect("open");
        let xml = "<domain type='test'><name>db</name><memory>8192</memory><os><type>hvm</type></os>\
                   </domain>";
        hypervisor.create(xml).expect("create");
        let next = || {
            hear.recv_timeout(Duration::from_secs(10))
                .expect("an event")
        };
        assert_eq!(next(), Event::Changed("db".into()));
        hypervisor.destroy("db").expect("destroy");
        let ended = Event::Ended("db".into(), Ending::Other);
        let heard = (0..4).map(|_| next()).find(|event| *event == ended);
        assert_eq!(heard, Some(ended));
        drop(events);
    }
}
