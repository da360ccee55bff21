//! Fits the columns of a table into the width of a terminal: long texts are cut, and if that is not enough, columns in
//! the middle are left out.

/// The width to which a text may be cut so that another column has room.
const CUT_WIDTH: usize = 12;

/// The columns that the frame of a cell takes: `| ` before it and a space after it.
const FRAME: usize = 3;

/// What a column needs.
#[derive(Clone, Copy, Debug)]
pub struct ColumnNeed {
    /// The width of its name.
    pub name: usize,
    /// The width of its widest cell.
    pub cells: usize,
    /// Whether its cells may be cut.
    pub is_cuttable: bool,
}

impl ColumnNeed {
    fn natural(self) -> usize {
        self.name.max(self.cells)
    }

    fn least(self) -> usize {
        if self.is_cuttable { self.natural().min(CUT_WIDTH) } else { self.cells.max(self.name.min(CUT_WIDTH)) }
    }

    /// The width if no column is wider than `limit`, as far as that is possible.
    fn limited(self, limit: usize) -> usize {
        self.natural().min(limit.max(self.least()))
    }
}

/// A column of the table as it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FittedColumn {
    /// Which column of the result it is; `None` for the one that stands for those left out.
    pub index: Option<usize>,
    /// Its width without the frame.
    pub width: usize,
}

/// Chooses the columns that are shown, and their widths. Without a `width`, every column is shown as wide as it is.
pub fn fit(needs: &[ColumnNeed], width: Option<usize>) -> Vec<FittedColumn> {
    let mut shown: Vec<usize> = (0..needs.len()).collect();
    let Some(width) = width else { return fitted(needs, &shown, usize::MAX) };
    let total = |shown: &[usize], limit: usize| {
        let frame = 1 + FRAME * shown.len();
        let left_out = if shown.len() < needs.len() { FRAME + 1 } else { 0 };
        shown.iter().map(|&index| needs[index].limited(limit)).sum::<usize>() + frame + left_out
    };
    while shown.len() > 1 && total(&shown, 0) > width {
        shown.remove(shown.len() / 2);
    }
    let widest = shown.iter().map(|&index| needs[index].natural()).max().unwrap_or(0);
    let (mut fits, mut too_wide) = (0, widest + 1);
    while too_wide - fits > 1 {
        let limit = fits.midpoint(too_wide);
        if total(&shown, limit) <= width { fits = limit } else { too_wide = limit }
    }
    let mut columns = fitted(needs, &shown, fits);
    if let ([only], true) = (&shown[..], total(&shown, fits) > width) {
        // A single column, wider than the terminal even so.
        let frame = total(&shown, fits) - needs[*only].limited(fits);
        let room = width.saturating_sub(frame).max(1);
        columns.iter_mut().filter(|column| column.index.is_some()).for_each(|column| column.width = room);
    }
    columns
}

/// Returns the columns `shown`, none wider than `limit` if possible, with one that stands for those left out.
fn fitted(needs: &[ColumnNeed], shown: &[usize], limit: usize) -> Vec<FittedColumn> {
    let mut columns = Vec::new();
    let mut next = 0;
    for &index in shown {
        columns.extend((index > next).then_some(FittedColumn { index: None, width: 1 }));
        columns.push(FittedColumn { index: Some(index), width: needs[index].limited(limit) });
        next = index + 1;
    }
    columns.extend((next < needs.len()).then_some(FittedColumn { index: None, width: 1 }));
    columns
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(cells: usize) -> ColumnNeed {
        ColumnNeed { name: 4, cells, is_cuttable: true }
    }

    fn number(cells: usize) -> ColumnNeed {
        ColumnNeed { name: 4, cells, is_cuttable: false }
    }

    fn widths(needs: &[ColumnNeed], width: usize) -> Vec<(Option<usize>, usize)> {
        fit(needs, Some(width)).iter().map(|column| (column.index, column.width)).collect()
    }

    fn total(columns: &[(Option<usize>, usize)]) -> usize {
        1 + columns.iter().map(|(_, width)| width + FRAME).sum::<usize>()
    }

    #[test]
    fn what_fits_is_not_changed() {
        assert_eq!(widths(&[text(9), number(2)], 20), [(Some(0), 9), (Some(1), 4)]);
        assert_eq!(fit(&[text(900)], None), [FittedColumn { index: Some(0), width: 900 }]);
        assert!(fit(&[], Some(80)).is_empty());
    }

    #[test]
    fn the_widest_texts_are_cut_first_and_numbers_never() {
        let columns = widths(&[text(100), number(30), text(20)], 80);
        assert_eq!(columns, [(Some(0), 20), (Some(1), 30), (Some(2), 20)]);
        assert_eq!(total(&columns), 80);
    }

    #[test]
    fn columns_in_the_middle_are_left_out() {
        let columns = widths(&[text(30); 9], 80);
        assert_eq!(
            columns.iter().map(|(index, _)| *index).collect::<Vec<_>>(),
            [Some(0), Some(1), Some(2), None, Some(7), Some(8)]
        );
        assert!(total(&columns) <= 80, "{columns:?}");
    }

    #[test]
    fn a_table_is_never_wider_than_the_terminal_if_there_is_any_room() {
        for width in 12..200 {
            for count in 1..9 {
                for needs in
                    [vec![text(40); count], vec![number(11); count], [vec![text(7); count], vec![text(300)]].concat()]
                {
                    let columns = widths(&needs, width);
                    assert!(total(&columns) <= width, "{needs:?} in {width}: {columns:?}");
                    assert!(columns[0].0 == Some(0), "{columns:?}");
                }
            }
        }
    }
}
