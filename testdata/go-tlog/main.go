// Reads and writes tiled logs with golang.org/x/mod/sumdb, for e2e/go-tlog.test.ts: an implementation that is not ours.
//
//	main read DIR VKEY SIZE...   opens DIR/checkpoint-SIZE and proves with the tiles of DIR
//	main write DIR NAME SIZE...  writes the same, and DIR/vkey
//
// Both print, as JSON, the proofs that Go makes. C2SP tlog-tiles leaves out the height that Go has in the paths of tiles.
package main

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const height = 8

type proofs struct {
	Size        int64
	Root        tlog.Hash
	Inclusion   map[int64]tlog.RecordProof
	Consistency map[int64]tlog.TreeProof
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func require(ok bool, why string, args ...interface{}) {
	if !ok {
		check(fmt.Errorf(why, args...))
	}
}

func c2spPath(t tlog.Tile) string {
	return "tile/" + strings.TrimPrefix(t.Path(), fmt.Sprintf("tile/%d/", height))
}

// reader reads tiles from a folder.
type reader string

func (r reader) Height() int { return height }

func (r reader) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	data := make([][]byte, len(tiles))
	for i, t := range tiles {
		bytes, err := os.ReadFile(filepath.Join(string(r), c2spPath(t)))
		if err != nil {
			return nil, err
		}
		data[i] = bytes
	}
	return data, nil
}

func (r reader) SaveTiles(tiles []tlog.Tile, data [][]byte) {}

// openCheckpoint is strict about the text, and requires the signature of the log.
func openCheckpoint(dir string, size int64, v note.Verifier) tlog.Tree {
	msg, err := os.ReadFile(fmt.Sprintf("%s/checkpoint-%d", dir, size))
	check(err)
	n, err := note.Open(msg, note.VerifierList(v))
	check(err)
	lines := strings.Split(n.Text, "\n")
	require(len(lines) == 4 && lines[3] == "", "the text has %d lines", len(lines))
	require(lines[0] == v.Name(), "the origin is %q", lines[0])
	stated, err := strconv.ParseInt(lines[1], 10, 64)
	check(err)
	require(stated == size, "the size is %d, not %d", stated, size)
	root, err := tlog.ParseHash(lines[2])
	check(err)
	return tlog.Tree{N: size, Hash: root}
}

// sample is every index of a small tree, and the edges of tiles and a stride of a large one.
func sample(n int64) []int64 {
	var found []int64
	for i := int64(0); i < n; i++ {
		if n <= 300 || i < 3 || i >= n-3 || i%997 == 0 || i%65536 == 0 || i%65536 == 65535 {
			found = append(found, i)
		}
	}
	return found
}

// prove makes proofs and checks each with Go's own checker.
func prove(tree tlog.Tree, older []tlog.Tree, leaf func(int64) tlog.Hash, r tlog.HashReader) proofs {
	out := proofs{tree.N, tree.Hash, map[int64]tlog.RecordProof{}, map[int64]tlog.TreeProof{}}
	for _, i := range sample(tree.N) {
		p, err := tlog.ProveRecord(tree.N, i, r)
		check(err)
		check(tlog.CheckRecord(p, tree.N, tree.Hash, i, leaf(i)))
		out.Inclusion[i] = p
	}
	for _, old := range older {
		p, err := tlog.ProveTree(tree.N, old.N, r)
		check(err)
		check(tlog.CheckTree(p, tree.N, tree.Hash, old.N, old.Hash))
		out.Consistency[old.N] = p
	}
	return out
}

// leavesOf reads the entries of a tree from their bundles.
func leavesOf(dir string, size int64) []tlog.Hash {
	var leaves []tlog.Hash
	for at := int64(0); at < size; at += 256 {
		t := tlog.Tile{H: height, L: 0, N: at / 256, W: 256}
		if size-at < 256 {
			t.W = int(size - at)
		}
		data, err := os.ReadFile(filepath.Join(dir, strings.Replace(c2spPath(t), "tile/0/", "tile/entries/", 1)))
		check(err)
		for i := 0; i < t.W; i++ {
			require(len(data) >= 2, "a bundle is too short")
			n := 2 + int(binary.BigEndian.Uint16(data))
			require(len(data) >= n, "an entry is cut")
			leaves = append(leaves, tlog.RecordHash(data[2:n]))
			data = data[n:]
		}
		require(len(data) == 0, "a bundle is too long")
	}
	return leaves
}

func read(dir, vkey string, sizes []int64) []proofs {
	v, err := note.NewVerifier(vkey)
	check(err)
	var out []proofs
	var older []tlog.Tree
	for _, size := range sizes {
		tree := openCheckpoint(dir, size, v)
		r := tlog.TileHashReader(tree, reader(dir))
		leaves := leavesOf(dir, size)
		for at := int64(0); at < size; at += 256 {
			var indexes []int64
			for i := at; i < size && i < at+256; i++ {
				indexes = append(indexes, tlog.StoredHashIndex(0, i))
			}
			hashes, err := r.ReadHashes(indexes)
			check(err)
			for i, h := range hashes {
				require(h == leaves[at+int64(i)], "entry %d is not the leaf of the tile", at+int64(i))
			}
		}
		out = append(out, prove(tree, older, func(i int64) tlog.Hash { return leaves[i] }, r))
		older = append(older, tree)
	}
	return out
}

func save(path string, data []byte) {
	check(os.MkdirAll(filepath.Dir(path), 0o755))
	check(os.WriteFile(path, data, 0o644))
}

func write(dir, name string, sizes []int64) []proofs {
	skey, vkey, err := note.GenerateKey(rand.Reader, name)
	check(err)
	signer, err := note.NewSigner(skey)
	check(err)
	save(dir+"/vkey", []byte(vkey))
	var stored []tlog.Hash
	hashes := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		found := make([]tlog.Hash, len(indexes))
		for i, index := range indexes {
			found[i] = stored[index]
		}
		return found, nil
	})
	var leaves []tlog.Hash
	var out []proofs
	var older []tlog.Tree
	for _, size := range sizes {
		from := int64(len(leaves))
		for i := from; i < size; i++ {
			record := []byte(fmt.Sprintf("record %d", i))
			more, err := tlog.StoredHashes(i, record, hashes)
			check(err)
			stored = append(stored, more...)
			leaves = append(leaves, tlog.RecordHash(record))
		}
		root, err := tlog.TreeHash(size, hashes)
		check(err)
		last := map[string]tlog.Tile{}
		for _, t := range tlog.NewTiles(height, from, size) {
			// Go lists every width that a tile has had; only the one of this tree is published.
			last[fmt.Sprintf("%d/%d", t.L, t.N)] = t
		}
		for _, t := range last {
			data, err := tlog.ReadTileData(t, hashes)
			check(err)
			save(filepath.Join(dir, c2spPath(t)), data)
		}
		text := fmt.Sprintf("%s\n%d\n%s\n", name, size, root)
		msg, err := note.Sign(&note.Note{Text: text}, signer)
		check(err)
		save(fmt.Sprintf("%s/checkpoint-%d", dir, size), msg)
		tree := tlog.Tree{N: size, Hash: root}
		out = append(out, prove(tree, older, func(i int64) tlog.Hash { return leaves[i] }, hashes))
		older = append(older, tree)
	}
	return out
}

func main() {
	require(len(os.Args) > 4, "usage: main read|write DIR VKEY|NAME SIZE...")
	var sizes []int64
	for _, arg := range os.Args[4:] {
		size, err := strconv.ParseInt(arg, 10, 64)
		check(err)
		sizes = append(sizes, size)
	}
	run := read
	if os.Args[1] == "write" {
		run = write
	}
	check(json.NewEncoder(os.Stdout).Encode(run(os.Args[2], os.Args[3], sizes)))
}
