// The thread of src/cases/reach.ts.
require('./program.cjs').workers.reach();
