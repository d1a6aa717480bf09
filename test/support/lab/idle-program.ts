/**
 * A program that ignores its arguments and sleeps until it is killed, as the bytes of a static ELF file.
 * A kubelet or flanneld made of it shows its true name and flags in /proc/PID/cmdline, comm and exe, which no
 * shell or `sleep` can, and it runs in an empty root directory, as a pause container does.
 */
export function idleProgram(): Buffer {
  const arm = process.arch === 'arm64';
  if (!arm && process.arch !== 'x64') throw new Error(`no idle program for ${process.arch}`);
  const code = arm ? armPoll() : Buffer.from([0xb8, 34, 0, 0, 0, 0x0f, 0x05, 0xeb, 0xf7]); // pause(); again
  const base = 0x400000n;
  const head = Buffer.alloc(64 + 56);
  head.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  head.writeUInt16LE(2, 16);
  head.writeUInt16LE(arm ? 183 : 62, 18);
  head.writeUInt32LE(1, 20);
  head.writeBigUInt64LE(base + BigInt(head.length), 24);
  head.writeBigUInt64LE(64n, 32);
  head.writeUInt16LE(64, 52);
  head.writeUInt16LE(56, 54);
  head.writeUInt16LE(1, 56);
  head.writeUInt32LE(1, 64); // PT_LOAD
  head.writeUInt32LE(5, 68); // read, execute
  head.writeBigUInt64LE(base, 80);
  head.writeBigUInt64LE(base, 88);
  head.writeBigUInt64LE(BigInt(head.length + code.length), 96);
  head.writeBigUInt64LE(BigInt(head.length + code.length), 104);
  head.writeBigUInt64LE(0x10000n, 112);
  return Buffer.concat([head, code]);
}

function armPoll(): Buffer {
  const words = [0xd2800000, 0xd2800001, 0xd2800002, 0xd2800003, 0xd2800004, 0xd2800928, 0xd4000001, 0x17fffff9];
  const code = Buffer.alloc(words.length * 4);
  words.forEach((word, i) => {
    code.writeUInt32LE(word, i * 4);
  });
  return code;
}
