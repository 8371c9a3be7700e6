/** Schema versions, each applied once, in order. What is here is never changed, only added to. */
import type { ColumnDefinitionBuilder, CreateTableBuilder, Kysely } from 'kysely';
import type { Migration } from 'kysely/migration';

/** What differs between the two databases. */
export interface Types {
  readonly bytes: 'blob' | 'bytea';
  readonly serial: (column: ColumnDefinitionBuilder) => ColumnDefinitionBuilder;
  readonly serialType: 'integer' | 'bigint';
}

type Build = CreateTableBuilder<string, string>;

export function migrations(types: Types): Record<string, Migration> {
  return {
    '001-farm': { up: (db) => createAll(db as Kysely<unknown>, types) },
    '002-approval': { up: (db) => (db as Kysely<unknown>).schema.alterTable('jobs').addColumn('approval', 'text').execute() },
  };
}

async function createAll(db: Kysely<unknown>, types: Types): Promise<void> {
  const table = async (
    name: string,
    columns: Readonly<Record<string, string>>,
    more: (build: Build) => Build = (build) => build,
  ): Promise<void> => {
    let build = db.schema.createTable(name) as Build;
    for (const [column, kind] of Object.entries(columns)) build = addColumn(build, column, kind, types);
    await more(build).execute();
  };
  await table('jobs', {
    position: 'serial',
    job: 'text unique',
    name: 'text',
    version: 'text',
    source: 'text',
    tier: 'text',
    architecture: 'text',
    needs: 'text',
    state: 'text',
    reason: 'text',
    submitter: 'text',
    priority: 'int',
    rank: 'int',
    submitted_at: 'int',
    updated_at: 'int',
    ready: 'int',
    not_before: 'int',
    quorum: 'int',
    commitments: 'int',
    round: 'int',
    opening: 'text?',
    deadline: 'int',
    taken: 'int',
    failures: 'int',
    flaky: 'int',
    decision: 'text?',
    outcome_index: 'int?',
    due: 'int',
  });
  await table('submissions', { submission: 'text primary', job: 'text', submitter: 'text', priority: 'int', submitted_at: 'int' });
  await table(
    'tasks',
    {
      job: 'text',
      round: 'int',
      builder: 'text',
      state: 'text',
      ambient: 'text',
      rank: 'int',
      not_before: 'int',
      attempt: 'int?',
    },
    (build) => build.addPrimaryKeyConstraint('tasks_key', ['job', 'round', 'builder']),
  );
  await table('attempts', {
    attempt: 'serial',
    job: 'text',
    round: 'int',
    builder: 'text',
    state: 'text',
    token: 'text',
    transport_key: 'text',
    leased_at: 'int',
    expires_at: 'int',
    ended_at: 'int?',
    failure: 'text?',
    statement: 'text?',
    wanted: 'text?',
    transcript_bytes: 'int',
    transcript: 'text?',
  });
  await table('transcript_chunks', { attempt: 'int', start: 'int', bytes: 'bytes' }, (build) =>
    build.addPrimaryKeyConstraint('transcript_chunks_key', ['attempt', 'start']),
  );
  await table(
    'documents',
    {
      document: 'serial',
      job: 'text',
      digest: 'text',
      payload_type: 'text',
      payload: 'bytes?',
      signature: 'bytes',
      key: 'bytes',
      signer: 'text',
      accepted_at: 'int',
      log_index: 'int?',
    },
    (build) => build.addUniqueConstraint('documents_once', ['digest', 'signer']),
  );
  await table('builders', {
    name: 'text primary',
    attestation_key: 'text unique',
    transport_key: 'text unique',
    state: 'text',
    capabilities: 'text?',
    last_seen: 'int?',
    enrolled_at: 'int',
    certificate_expires: 'int',
  });
  await table('join_tokens', { token: 'text primary', name: 'text', fingerprint: 'text', expires_at: 'int', used_at: 'int?' });
  await table('tokens', {
    token: 'text primary',
    name: 'text unique',
    role: 'text',
    created_at: 'int',
    expires_at: 'int?',
    revoked_at: 'int?',
  });
  await table('inputs', { sha256: 'text', submitter: 'text', size: 'int', uploaded_at: 'int' }, (build) =>
    build.addPrimaryKeyConstraint('inputs_key', ['sha256', 'submitter']),
  );
  await table('shares', { submitter: 'text primary', share: 'real', used: 'real' });
  await table('audit', { id: 'serial', at: 'int', who: 'text', role: 'text', action: 'text', subject: 'text', status: 'int' });
  await table('leaders', { duty: 'text primary', holder: 'text', until: 'int' });
  await table('facts', { name: 'text primary', value: 'text' });
  const index = (name: string, on: string, columns: readonly string[]): Promise<void> =>
    db.schema
      .createIndex(name)
      .on(on)
      .columns([...columns])
      .execute();
  // The queue: the best of one submitter, without looking at the rest.
  await index('jobs_queue', 'jobs', ['state', 'ready', 'submitter', 'rank']);
  await index('jobs_due', 'jobs', ['due', 'state']);
  await index('jobs_waiting', 'jobs', ['state', 'ready', 'not_before']);
  await index('jobs_listed', 'jobs', ['state', 'position']);
  await index('jobs_deadline', 'jobs', ['state', 'deadline']);
  await index('tasks_by_state', 'tasks', ['state', 'builder']);
  await index('tasks_offers', 'tasks', ['builder', 'state', 'rank']);
  await index('attempts_of_job', 'attempts', ['job', 'attempt']);
  await index('attempts_expiry', 'attempts', ['state', 'expires_at']);
  await index('attempts_of_builder', 'attempts', ['builder', 'state']);
  await index('documents_of_job', 'documents', ['job', 'document']);
  await index('documents_unlogged', 'documents', ['log_index', 'document']);
  await index('submissions_of_job', 'submissions', ['job']);
}

function addColumn(build: Build, column: string, kind: string, types: Types): Build {
  const optional = kind.endsWith('?');
  const [base = '', mark = ''] = kind.replace('?', '').split(' ');
  if (base === 'serial') return build.addColumn(column, types.serialType, types.serial);
  const type =
    base === 'int'
      ? ('bigint' as const)
      : base === 'real'
        ? ('double precision' as const)
        : base === 'bytes'
          ? types.bytes
          : ('text' as const);
  return build.addColumn(column, type as 'text', (one) => {
    const nullable = optional ? one : one.notNull();
    return mark === 'primary' ? nullable.primaryKey() : mark === 'unique' ? nullable.unique() : nullable;
  });
}
