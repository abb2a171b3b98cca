//! Jobs of dead nodes get a new owner.

use crate::store::postgres::session::Session;
use crate::store::sql::{Row, StoreError};

/// Jobs claimed at once, so that the nodes that are left share them.
const JOBS_AT_ONCE: i64 = 100;

/// Nobody waits for rows that another node is claiming.
const CLAIM: &str = "UPDATE jobs SET node=?1 WHERE sequence IN (
        SELECT sequence FROM jobs JOIN nodes USING (node) WHERE nodes.dead=1 AND jobs.finished IS NULL
        ORDER BY sequence LIMIT ?2 FOR UPDATE OF jobs SKIP LOCKED
    ) RETURNING sequence";
/// Of jobs that have finished only their callbacks matter.
const CLAIM_CALLBACKS: &str = "UPDATE jobs SET node=?1 WHERE sequence IN (
        SELECT sequence FROM jobs JOIN callbacks USING (sequence) JOIN nodes USING (node)
        WHERE nodes.dead=1 AND jobs.finished IS NOT NULL
        ORDER BY sequence LIMIT ?2 FOR UPDATE OF jobs SKIP LOCKED
    ) RETURNING sequence";
const DEAD: &str = "SELECT count(*) FROM nodes WHERE dead=1";
/// Dead nodes of which nothing is left to be claimed.
const FORGET: &str = "DELETE FROM nodes WHERE dead=1
    AND NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.node = nodes.node AND finished IS NULL)
    AND NOT EXISTS (SELECT 1 FROM jobs JOIN callbacks USING (sequence) WHERE jobs.node = nodes.node)";

/// Makes this node the owner of some jobs of dead nodes; none where there are none.
pub(super) async fn claim(session: &mut Session) -> Result<Vec<i64>, StoreError> {
    let dead = session.query(DEAD, &[], |row: Row<'_>| row.int(0)).await?;
    if dead == [0] {
        return Ok(Vec::new());
    }
    for sql in [CLAIM, CLAIM_CALLBACKS] {
        let params = [session.node().into(), JOBS_AT_ONCE.into()];
        let claimed = session.query(sql, &params, |row: Row<'_>| row.int(0)).await?;
        if !claimed.is_empty() {
            return Ok(claimed);
        }
    }
    session.execute(FORGET, &[]).await?;
    Ok(Vec::new())
}
