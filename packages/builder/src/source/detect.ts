/** Looks at a project and drafts a manifest that works for it: what `lockstep init` writes. */
import { existsSync, readFileSync } from 'node:fs';
import { basename, resolve } from 'node:path';
import { isTable } from '@lockstep/protocol/decode/decode';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { type Json, parseJson } from '@lockstep/protocol/json/parse';
import { isProblem, parseSourceRef } from '@lockstep/protocol/source-ref/source-ref';

export interface Draft {
  /** What was recognised, for the message. */
  readonly kind: string;
  readonly name: string;
  readonly toml: string;
}

interface Recipe {
  readonly kind: string;
  readonly packages: readonly string[];
  readonly steps: readonly string[];
  readonly outputs: string;
  readonly inputs?: string;
  readonly buildDepends?: boolean;
  readonly path?: string;
  readonly cpus?: number;
}

const INSTALL_TREE = (name: string): string => `[[outputs]]\ntree = "install"\nname = ${quote(`${name}.tar`)}`;

/** @throws LockstepError INIT_NOTHING_FOUND */
export function draftFor(what: string): Draft {
  const parsed = parseSourceRef(what);
  if (isProblem(parsed)) throw new LockstepError('SOURCE_REF_INVALID', `${JSON.stringify(what)}: expected ${parsed.expected}`, parsed.hint);
  if (parsed.kind === 'directory') return draftForDirectory(resolve(parsed.path));
  if (parsed.kind === 'package' && parsed.purl.type === 'deb') {
    const version = parsed.purl.version ?? 'current';
    const recipe = debian(parsed.purl.name);
    return { kind: recipe.kind, name: parsed.purl.name, toml: format(parsed.purl.name, upstreamVersion(version), what, recipe) };
  }
  if (parsed.kind === 'package') {
    const name = parsed.purl.name;
    const recipe = npm(name, null, false);
    return { kind: recipe.kind, name, toml: format(name, parsed.purl.version ?? '0', what, recipe) };
  }
  throw new LockstepError(
    'INIT_NOTHING_FOUND',
    `${what} has to be looked at first, and init does not fetch`,
    'Clone or unpack it, run "lockstep init" in the directory, and then set source.ref to this reference.',
  );
}

function draftForDirectory(folder: string): Draft {
  const name =
    basename(folder)
      .replace(/[^A-Za-z0-9._+-]/g, '-')
      .replace(/^[^A-Za-z0-9]+/, '') || 'project';
  const has = (file: string): boolean => existsSync(`${folder}/${file}`);
  const recipe = recognise(folder, name, has);
  if (recipe === null) {
    throw new LockstepError(
      'INIT_NOTHING_FOUND',
      `Nothing in ${folder} says how to build it (looked for debian/control, package.json, CMakeLists.txt, meson.build, configure, Makefile)`,
      'Write lockstep.toml by hand; spec/manifest.md begins with an example.',
    );
  }
  return { kind: recipe.kind, name, toml: format(name, '0.1.0', '.', recipe) };
}

function recognise(folder: string, name: string, has: (file: string) => boolean): Recipe | null {
  if (has('debian/control') && has('debian/rules')) return { ...debianDirectory(folder), kind: 'Debian source' };
  if (has('CMakeLists.txt')) {
    return {
      kind: 'CMake',
      packages: ['build-essential', 'cmake'],
      steps: [
        'cmake -S . -B build -DCMAKE_BUILD_TYPE=Release -DCMAKE_INSTALL_PREFIX=/usr',
        'cmake --build build',
        'DESTDIR=$PWD/install cmake --install build',
      ],
      outputs: INSTALL_TREE(name),
    };
  }
  if (has('meson.build')) {
    return {
      kind: 'Meson',
      packages: ['build-essential', 'meson', 'ninja-build', 'pkg-config'],
      steps: [
        'meson setup build --prefix=/usr --buildtype=release',
        'meson compile -C build',
        'DESTDIR=$PWD/install meson install -C build',
      ],
      outputs: INSTALL_TREE(name),
    };
  }
  if (has('configure') || has('configure.ac')) {
    const prepare = has('configure') ? [] : ['autoreconf --install --force'];
    return {
      kind: 'autotools',
      packages: ['build-essential', ...(has('configure') ? [] : ['autoconf', 'automake', 'libtool', 'pkg-config'])],
      steps: [...prepare, './configure --prefix=/usr', 'make', 'make install DESTDIR=$PWD/install'],
      outputs: INSTALL_TREE(name),
    };
  }
  if (has('package.json')) return npm(name, parseJson(readFileSync(`${folder}/package.json`), 'package.json'), has('package-lock.json'));
  const makefile = ['GNUmakefile', 'Makefile', 'makefile'].find(has);
  if (makefile === undefined) return null;
  const installs = /^install\s*:/m.test(readFileSync(`${folder}/${makefile}`, 'utf8'));
  return installs
    ? {
        kind: 'make',
        packages: ['build-essential'],
        steps: ['make', 'make install DESTDIR=$PWD/install PREFIX=/usr prefix=/usr'],
        outputs: INSTALL_TREE(name),
      }
    : {
        kind: 'make',
        packages: ['build-essential'],
        steps: ['make'],
        outputs: `[[outputs]]              # the whole directory; name the files that matter instead\ntree = "."\nname = ${quote(`${name}.tar`)}`,
      };
}

function debian(name: string): Recipe {
  return {
    kind: 'Debian source package',
    packages: ['build-essential', 'fakeroot'],
    buildDepends: true,
    path: '/build/reproducible-path',
    steps: [`dpkg-source -x *.dsc ${name}`, `cd ${name} && DEB_BUILD_OPTIONS=nocheck dpkg-buildpackage -b -us -uc -rfakeroot`],
    outputs: '[[outputs]]\nfiles = "*.deb"',
  };
}

/** An unpacked Debian source: built one level down, since the packages land beside it. */
function debianDirectory(folder: string): Recipe {
  const control = readFileSync(`${folder}/debian/control`, 'utf8').replace(/\n[ \t]+/g, ' ');
  const depends = [...control.matchAll(/^Build-Depends(?:-Arch|-Indep)?: *(.*)$/gim)].flatMap((match) => (match[1] ?? '').split(','));
  const packages = depends
    .map((one) =>
      one
        .replace(/<[^>]*>|\[[^\]]*\]/g, '')
        .trim()
        .replace(/\s+/g, ' '),
    )
    .filter((one) => one !== '' && !one.includes('${'));
  return {
    kind: 'Debian source',
    packages: ['build-essential', 'fakeroot', ...packages],
    steps: [
      'cp -a . ../package && cd ../package && DEB_BUILD_OPTIONS=nocheck dpkg-buildpackage -b -us -uc -rfakeroot',
      'mkdir debs && cp ../*.deb debs/',
    ],
    outputs: '[[outputs]]\nfiles = "debs/*.deb"',
  };
}

function npm(name: string, manifest: Json | null, locked: boolean): Recipe {
  const scripts = isTable(manifest ?? undefined) && manifest !== null && isTable(manifest) ? manifest['scripts'] : undefined;
  const script = isTable(scripts) && typeof scripts['build'] === 'string' ? scripts['build'] : null;
  const steps = [...(script === null ? [] : [`PATH="$PWD/node_modules/.bin:$PATH"; export PATH; ${script}`]), 'rm -rf node_modules'];
  return {
    kind: 'npm',
    packages: ['nodejs'],
    steps: script === null ? ['test -f package.json'] : steps,
    outputs: `[[outputs]]\ntree = "."\nname = ${quote(`${name}.tar`)}`,
    ...(locked
      ? {
          inputs:
            '[[inputs]]                # the closure of the lock, laid out as node_modules; no install script runs\nnpm_lock = "package-lock.json"',
        }
      : {}),
  };
}

function upstreamVersion(version: string): string {
  return version.replace(/^\d+:/, '').replace(/-[^-]*$/, '') || version;
}

function quote(text: string): string {
  return JSON.stringify(text);
}

function format(name: string, version: string, ref: string, recipe: Recipe): string {
  const parts = [
    `name = ${quote(name)}\nversion = ${quote(version)}`,
    `[source]\nref = ${quote(ref)}${ref === '.' ? '                  # for what you publish: git+https://HOST/PATH#refs/tags/TAG' : ''}`,
    ...(recipe.inputs === undefined ? [] : [recipe.inputs]),
    `[environment]\nkind = "debian"\nsuite = "host"             # the suite of this machine; the lock holds its name\npackages = [${recipe.packages.map(quote).join(', ')}]${recipe.buildDepends === true ? '\nbuild_depends = true       # and the Build-Depends of the source package' : ''}`,
    `[build]${recipe.path === undefined ? '' : `\npath = ${quote(recipe.path)}`}\nsteps = [\n${recipe.steps.map((step) => `  ${quote(step)},`).join('\n')}\n]`,
    recipe.outputs,
  ];
  return `${parts.join('\n\n')}\n`;
}
