// SPDX-License-Identifier: GPL-3.0-or-later
//! Network links and bridges, by the ioctls of netdevice(7) and `linux/sockios.h`: what a vif
//! needs, without starting `ip`.
#![allow(unsafe_code)]

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use rustix::net::{AddressFamily, SocketType, socket};

const SIOCBRADDIF: libc::c_ulong = 0x89a2;
const SIOCBRDELIF: libc::c_ulong = 0x89a3;
/// What every backend vif has, so that the bridge never takes its address from one.
const VIF_ADDRESS: [u8; 6] = [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff];

/// A network link by name.
pub struct Link {
    name: String,
    socket: OwnedFd,
}

impl Link {
    /// The link `name`.
    ///
    /// # Errors
    /// There is none.
    pub fn open(name: &str) -> Result<Self> {
        ensure!(
            name.len() < libc::IFNAMSIZ && exists(name),
            "there is no network link {name:?}"
        );
        let socket = socket(AddressFamily::INET, SocketType::DGRAM, None)
            .context("opening a socket for network ioctls")?;
        Ok(Self {
            name: name.to_owned(),
            socket,
        })
    }

    /// Prepares a backend vif and joins it to `bridge`: address, MTU of the bridge, up.
    ///
    /// # Errors
    /// The bridge is missing or the kernel refuses.
    pub fn join(&self, bridge: &str) -> Result<()> {
        ensure!(
            Path::new("/sys/class/net")
                .join(bridge)
                .join("bridge")
                .is_dir(),
            "there is no bridge {bridge:?} on this host; networks in host.toml make them"
        );
        let doing = |what: &str| format!("{what} {} for the bridge {bridge}", self.name);
        let mut request = self.request();
        // SAFETY: the union's field for this request is the address.
        unsafe {
            request.ifr_ifru.ifru_hwaddr.sa_family = libc::ARPHRD_ETHER;
            for (to, from) in request
                .ifr_ifru
                .ifru_hwaddr
                .sa_data
                .iter_mut()
                .zip(VIF_ADDRESS)
            {
                *to = from.cast_signed();
            }
        }
        self.call(libc::SIOCSIFHWADDR, &mut request)
            .with_context(|| doing("setting the address of"))?;
        let mtu = fs::read_to_string(format!("/sys/class/net/{bridge}/mtu"));
        if let Some(mtu) = mtu.ok().and_then(|text| text.trim().parse().ok()) {
            let mut request = self.request();
            request.ifr_ifru.ifru_mtu = mtu;
            self.call(libc::SIOCSIFMTU, &mut request)
                .with_context(|| doing("setting the MTU of"))?;
        }
        match Self::open(bridge)?.port(SIOCBRADDIF, self) {
            // The hotplug contract allows a second call for the same device.
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
                ensure!(
                    self.master().as_deref() == Some(bridge),
                    doing("another bridge has")
                );
            }
            result => result.with_context(|| doing("joining"))?,
        }
        self.flags(|flags| flags | libc::IFF_UP)
            .with_context(|| doing("bringing up"))
    }

    /// Takes the link down and out of its bridge, if it is in one.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn leave(&self) -> Result<()> {
        let doing = || format!("taking {} out of its bridge", self.name);
        self.flags(|flags| flags & !libc::IFF_UP)
            .with_context(doing)?;
        if let Some(bridge) = self.master() {
            Self::open(&bridge)?
                .port(SIOCBRDELIF, self)
                .with_context(doing)?;
        }
        Ok(())
    }

    /// The bridge that the link belongs to.
    fn master(&self) -> Option<String> {
        let link = fs::read_link(format!("/sys/class/net/{}/master", self.name)).ok()?;
        Some(link.file_name()?.to_string_lossy().into_owned())
    }

    fn flags(&self, change: impl Fn(i32) -> i32) -> io::Result<()> {
        let mut request = self.request();
        self.call(libc::SIOCGIFFLAGS, &mut request)?;
        // SAFETY: the kernel has just filled this field of the union.
        let flags = i32::from(unsafe { request.ifr_ifru.ifru_flags });
        request.ifr_ifru.ifru_flags = i16::try_from(change(flags) & 0x7fff).unwrap_or(0);
        self.call(libc::SIOCSIFFLAGS, &mut request)
    }

    fn port(&self, code: libc::c_ulong, port: &Self) -> io::Result<()> {
        let mut request = self.request();
        let index = fs::read_to_string(format!("/sys/class/net/{}/ifindex", port.name))?;
        request.ifr_ifru.ifru_ifindex = index.trim().parse().map_err(io::Error::other)?;
        self.call(code, &mut request)
    }

    /// A zeroed `struct ifreq` with the link's name.
    fn request(&self) -> libc::ifreq {
        // SAFETY: all-zero is a valid value of this plain C structure.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        for (to, from) in request.ifr_name.iter_mut().zip(self.name.bytes()) {
            *to = from.cast_signed();
        }
        request
    }

    fn call(&self, code: libc::c_ulong, request: &mut libc::ifreq) -> io::Result<()> {
        // SAFETY: `request` is a `struct ifreq` that outlives the call.
        let result = unsafe { libc::ioctl(self.socket.as_raw_fd(), code, request) };
        if result < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(())
        }
    }
}

/// Whether a link of this name is there.
pub fn exists(name: &str) -> bool {
    !name.is_empty() && !name.contains('/') && Path::new("/sys/class/net").join(name).exists()
}

/// Waits until the bridge `name` is there.
///
/// # Errors
/// It is not, after `patience`.
pub fn wait_for_bridge(name: &str, patience: std::time::Duration) -> Result<()> {
    let begin = std::time::Instant::now();
    while !Path::new("/sys/class/net")
        .join(name)
        .join("bridge")
        .is_dir()
    {
        if begin.elapsed() > patience {
            bail!("there is no bridge {name} on this host: see `networkctl status {name}`");
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    Ok(())
}
