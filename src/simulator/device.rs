//! Where and on what sessions are used.

use super::model::Session;

/// Cities and countries of session activity.
const PLACES: [(&str, &str); 7] = [
    ("Aarhus", "DK"),
    ("Berlin", "DE"),
    ("Chicago", "US"),
    ("Kraków", "PL"),
    ("New York", "US"),
    ("São Paulo", "BR"),
    ("Zürich", "CH"),
];

/// The device and browser of a session's latest activity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    /// The kind of device, as Clerk names it.
    pub device_type: &'static str,
    /// Whether it is a mobile device.
    pub is_mobile: bool,
    /// The browser.
    pub browser: &'static str,
}

impl Session {
    /// Returns the device and browser of the latest activity.
    #[must_use]
    pub fn device(&self) -> Device {
        let is_mobile = self.id.ends_with(|last: char| last.is_ascii_digit());
        let (device_type, browser) = if is_mobile { ("iPhone", "Mobile Safari") } else { ("Macintosh", "Firefox") };
        self.device.unwrap_or(Device { device_type, is_mobile, browser })
    }

    /// Returns the city and country of the latest activity.
    #[must_use]
    pub fn place(&self) -> (&'static str, &'static str) {
        PLACES[usize::try_from(self.created_at.unsigned_abs()).unwrap_or(0) % PLACES.len()]
    }
}
