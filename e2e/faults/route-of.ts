/** Which route a request is for, from outside: faults are named after routes. */
import type { Route } from '@lockstep/api/route';
import { ROUTES, type RouteName } from '@lockstep/api/routes/table';

const patterns = (Object.keys(ROUTES) as RouteName[]).map((name) => {
  const route: Route = ROUTES[name];
  const pattern = route.path
    .replaceAll('.', '\\.')
    .replaceAll(/\{[a-zA-Z0-9]+(\+?)\}/g, (_all, rest: string) => (rest === '+' ? '.+' : '[^/]+'));
  return { name, method: route.method, pattern: new RegExp(`^${pattern}$`) };
});

export function routeOf(method: string, path: string): RouteName | null {
  return patterns.find((one) => one.method === method && one.pattern.test(path))?.name ?? null;
}
