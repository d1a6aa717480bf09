// What oclif loads commands from.
exports.COMMANDS = require('./program.cjs').commandsFor(process.argv[2]);
