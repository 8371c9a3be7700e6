/** Every route that there is. */
import { builderRoutes } from './builders.ts';
import { jobRoutes } from './jobs.ts';
import { operatorRoutes } from './operators.ts';
import { signingRoutes } from './signing.ts';

export const ROUTES = { ...jobRoutes, ...builderRoutes, ...operatorRoutes, ...signingRoutes } as const;
export type RouteName = keyof typeof ROUTES;
