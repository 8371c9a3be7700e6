/** A whole farm on SQLite and a folder, under s6; `npm run whole-farm` is the same on PostgreSQL and S3, with every role apart. */
import { test } from 'node:test';
import { wholeFarm } from './whole-farm.ts';

test('a farm in one process: agreement, kill -9 under load, a silent builder, a dishonest one', { timeout: 300_000 }, (context) =>
  wholeFarm(context, 'sqlite'),
);
