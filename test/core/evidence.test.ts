import { describe, expect, it } from 'vitest';
import { commandFor, evidenceKinds } from '../../src/core/evidence.ts';

describe('the command that would give evidence', () => {
  it('can be pasted into a shell', () => {
    expect(commandFor('ip.rule4')).toBe('ip -4 rule');
    expect(commandFor('docker.daemon-json')).toBe('cat /etc/docker/daemon.json');
    expect(commandFor('kubelet.cmdline')).toBe('cat /proc/$(pidof -s kubelet)/cmdline');
    expect(commandFor('netns.index')).toBe('sudo sh netcase-collect.sh -o /tmp');
    expect(commandFor('ct.table')).toBe('conntrack -L -o extended');
    expect(commandFor('no.such')).toBeUndefined();
  });

  it('is no description, whatever the evidence', () => {
    for (const { id } of evidenceKinds)
      expect(commandFor(id), id).not.toMatch(/PID\b|file:|\.\.\.|one line each|itself|<\w/);
  });
});
