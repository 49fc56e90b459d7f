// The shared library is made of the archives of the client and of what it stands on; a target needs a source of its
// own.
