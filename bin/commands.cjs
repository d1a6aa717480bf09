// What oclif loads commands from.
exports.COMMANDS = require('./program.cjs').COMMANDS;
