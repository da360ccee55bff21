//! Devices on which sessions are used.

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
