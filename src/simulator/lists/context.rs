//! What the rows of a response depend on.

use crate::simulator::list::InstanceIdentity;
use crate::simulator::listing::QueryString;
use crate::simulator::model::Model;

/// The request, and the data that rows refer to.
pub(in crate::simulator) struct ListContext<'a> {
    pub model: &'a Model,
    pub parameters: &'a QueryString,
    pub path: &'a str,
    pub instance: &'a InstanceIdentity,
}
