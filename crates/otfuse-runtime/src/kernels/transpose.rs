//! Transposition in blocks that fit into the nearest cache.

/// Rows and columns of a block.
pub(super) const BLOCK: usize = 16;

/// Combines element (i, j) of a `rows x columns` matrix into element (j, i) of another; rows lie `step` apart.
pub(super) fn transpose(
    from: &[f32],
    from_step: usize,
    to: &mut [f32],
    to_step: usize,
    [rows, columns]: [usize; 2],
    combine: impl Fn(&mut f32, f32),
) {
    for row_block in (0..rows).step_by(BLOCK) {
        for column_block in (0..columns).step_by(BLOCK) {
            let block = row_block..rows.min(row_block + BLOCK);
            for column in column_block..columns.min(column_block + BLOCK) {
                let target = &mut to[column * to_step + block.start..column * to_step + block.end];
                for (row, to) in block.clone().zip(target) {
                    combine(to, from[row * from_step + column]);
                }
            }
        }
    }
}
