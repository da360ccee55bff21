//! What the README says of the tables is what the program says.
//!
//! `CLERK_LAKE_BLESS=1 cargo test --test it readme` writes that part anew; read its diff.

use std::path::Path;

use crate::support::{is_blessing, program, stdout};

const BEGIN: &str = "<!-- schema:begin -->\n";
const END: &str = "<!-- schema:end -->\n";

const HOW: &str = "write it with CLERK_LAKE_BLESS=1 cargo test --test it readme, and read its diff";

#[test]
fn the_tables_in_the_readme_are_as_the_program_describes_them() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = std::fs::read_to_string(&path).expect("the README");
    let (before, rest) = readme.split_once(BEGIN).expect("where the tables begin");
    let (there, after) = rest.split_once(END).expect("where the tables end");
    let printed = program(Path::new(env!("CARGO_MANIFEST_DIR"))).args(["schema", "--format", "markdown"]).output();
    let printed = stdout(&printed.expect("the program runs"));
    assert!(printed.contains("### `clerk_user`"), "{printed}");
    if is_blessing() {
        std::fs::write(&path, format!("{before}{BEGIN}{printed}{END}{after}")).expect("the README can be written");
        return;
    }
    let differing = there.lines().zip(printed.lines()).find(|(there, printed)| there != printed);
    assert!(differing.is_none(), "the README and the program differ: {differing:?}; if the program is right, {HOW}");
    assert!(there == printed, "one of the README and the program says more; if the program is right, {HOW}");
}
