// The thread of src/cases/pool.ts.
require('./program.cjs').workers.ingest();
