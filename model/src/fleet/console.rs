// SPDX-License-Identifier: GPL-3.0-or-later
//! The serial port that a machine shows its boot on, or that its board passes on (SOL).

use std::fmt;
use std::str::FromStr;

use crate::bad_value::{BadValue, quoted, serde_as_string};

/// Bits per second that are used for consoles.
const SPEEDS: [u32; 5] = [9_600, 19_200, 38_400, 57_600, 115_200];

/// A serial port, as Xen counts them, and its speed; written `com2`, or `com2,57600`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SerialConsole {
    /// 1 or 2.
    port: u32,
    speed: u32,
}

impl Default for SerialConsole {
    /// The first port, as fast as it goes.
    fn default() -> Self {
        Self {
            port: 1,
            speed: 115_200,
        }
    }
}

impl SerialConsole {
    /// The port, as Xen calls it: `com2`.
    pub fn port(self) -> String {
        format!("com{}", self.port)
    }

    /// The port, as GRUB counts them: from 0.
    pub fn unit(self) -> u32 {
        self.port - 1
    }

    /// In bits per second.
    pub fn speed(self) -> u32 {
        self.speed
    }
}

impl fmt::Display for SerialConsole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "com{},{}", self.port, self.speed)
    }
}

impl FromStr for SerialConsole {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        let default = Self::default();
        let (port, speed) = match text.split_once(',') {
            Some((port, speed)) => (port, speed.parse().ok()),
            None => (text, Some(default.speed)),
        };
        let port = match port {
            "com1" => Some(1),
            "com2" => Some(2),
            _ => None,
        };
        let speed = speed.filter(|speed| SPEEDS.contains(speed));
        let found = port.zip(speed).map(|(port, speed)| Self { port, speed });
        found.ok_or_else(|| {
            let advice = "write \"com1\" or \"com2\", and a speed if it is not 115200: \"com2,57600\" \
                          (9600, 19200, 38400, 57600)";
            BadValue::new(format!("{} is no serial console", quoted(text)), advice)
        })
    }
}

serde_as_string!(SerialConsole);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_console_is_a_port_and_a_speed() {
        let console = |text: &str| text.parse::<SerialConsole>();
        for text in ["com1,115200", "com2,57600"] {
            assert_eq!(console(text).expect(text).to_string(), text);
        }
        assert_eq!(console("com1"), Ok(SerialConsole::default()));
        let second = console("com2,9600").expect("a console");
        assert_eq!((second.unit(), second.speed()), (1, 9_600));
        assert_eq!(second.port(), "com2");
        for bad in [
            "",
            "com3",
            "ttyS0",
            "com1,",
            "com1,1",
            "com1,115200,8n1",
            "com1 9600",
        ] {
            let error = console(bad).expect_err(bad).to_string();
            assert!(error.contains("is no serial console: write"), "{error}");
        }
    }
}
