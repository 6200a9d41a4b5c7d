/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Libraries that are large and that not everybody needs are loaded when something of theirs is called first. Whoever
 * does so keeps the functions' addresses, each as a pointer of the type that the library's header declares.
 *
 * A package depends on these libraries like on those it is linked with, and the loader's part is the same: if one of
 * them is missing or too old, the process ends with a sentence. The rules in the kernel stay.
 */
#ifndef NUNCIO_BASE_LIBRARY_H
#define NUNCIO_BASE_LIBRARY_H

/* Loads a library, for good, by the name of its interface: "libNAME.so.N". */
void *library_load(const char *name);
/* Stores a function's address in *ret_function, which is a pointer to a function. */
void library_find(void *library, const char *function, void *ret_function);

#endif
