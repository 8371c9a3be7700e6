/** What an operator watches, in Prometheus form. docs/operate.md says what each is for. */
import { Counter, Gauge, Histogram, Registry } from 'prom-client';

export interface Metrics {
  readonly requests: Counter<'route' | 'status'>;
  readonly requestSeconds: Histogram<'route'>;
  readonly leases: Counter<'outcome'>;
  readonly jobs: Gauge<'state'>;
  readonly buildersAlive: Gauge;
  readonly logSize: Gauge;
  readonly logAppendSeconds: Histogram;
  readonly stageErrors: Counter<'stage'>;
  readonly stageSeconds: Histogram<'stage'>;
  readonly uploadedBytes: Counter;
  readonly followers: Gauge<'of'>;
  readonly oldestQueued: Gauge;
  readonly policyExpires: Gauge;
  text(): Promise<string>;
}

export function makeMetrics(): Metrics {
  const registry = new Registry();
  const registers = [registry];
  const buckets = [0.001, 0.005, 0.02, 0.1, 0.5, 2, 10];
  const memory = new Gauge({ name: 'lockstep_memory_bytes', help: 'Resident memory of this process', registers });
  return {
    requests: new Counter({ name: 'lockstep_requests_total', help: 'Requests answered', labelNames: ['route', 'status'], registers }),
    requestSeconds: new Histogram({ name: 'lockstep_request_seconds', help: 'Time to answer', labelNames: ['route'], buckets, registers }),
    leases: new Counter({ name: 'lockstep_leases_total', help: 'Attempts by how they ended', labelNames: ['outcome'], registers }),
    jobs: new Gauge({ name: 'lockstep_jobs', help: 'Jobs by state', labelNames: ['state'], registers }),
    buildersAlive: new Gauge({ name: 'lockstep_builders_alive', help: 'Builders heard of lately', registers }),
    logSize: new Gauge({ name: 'lockstep_log_size', help: 'Entries in the published log', registers }),
    logAppendSeconds: new Histogram({
      name: 'lockstep_log_append_seconds',
      help: 'Time until a group is witnessed and published',
      buckets,
      registers,
    }),
    stageErrors: new Counter({
      name: 'lockstep_stage_errors_total',
      help: 'Runs of a reconciler stage that failed',
      labelNames: ['stage'],
      registers,
    }),
    stageSeconds: new Histogram({
      name: 'lockstep_stage_seconds',
      help: 'Time of a run of a reconciler stage',
      labelNames: ['stage'],
      buckets,
      registers,
    }),
    uploadedBytes: new Counter({ name: 'lockstep_uploaded_bytes_total', help: 'Bytes taken from builders and submitters', registers }),
    followers: new Gauge({ name: 'lockstep_followers', help: 'Open event streams', labelNames: ['of'], registers }),
    oldestQueued: new Gauge({ name: 'lockstep_oldest_queued_seconds', help: 'How long the oldest queued job has waited', registers }),
    policyExpires: new Gauge({ name: 'lockstep_policy_expires_seconds', help: 'When the policy expires, seconds since 1970', registers }),
    text() {
      memory.set(process.memoryUsage.rss());
      return registry.metrics();
    },
  };
}
