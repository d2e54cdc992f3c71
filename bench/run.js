// All rows: npm install && npm run bench, in this folder, after npm install in the one above.
console.log(`Node ${process.versions.node}; the ratio is the median over interleaved rounds.\n`);
console.log('| row | ours | peer | unit | ours ÷ peer |\n| --- | --- | --- | --- | --- |');
await import('./tasks.js');
await import('./profile.js');
await import('./packing.js');
await import('./reads.js');
await import('./export.js');
await import('./long-file.js');
await import('./slow-disk.js');
await import('./guarded.js');
await import('./identified.js');
await import('./stream.js');
await import('./dashboard.js');
await import('./logins.js');
