/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a directory has of one service: its own file, SERVICE or SERVICE.json, and its drop-ins, which are the files in
 * SERVICE.d/, so that several can add endpoints to a service without writing to the same file. All together are the
 * endpoints of the service, in the order of their names: of two with the same id or address the first one counts.
 *
 * A drop-in that cannot be used has its former endpoints, if any, and is reported as a record that is left out. It
 * comes and goes at once. One whose name ends in FILE_LIVE counts only while somebody has it locked, as with flock(1):
 * so it ends with the process that wrote it, however that ends.
 *
 * Files are read only when they were touched, since another one may be half written; the first time, all are.
 */
#ifndef NUNCIO_DISCOVERY_FILE_SERVICE_H
#define NUNCIO_DISCOVERY_FILE_SERVICE_H

#include <stdbool.h>

#include "discovery/file-read.h"
#include "discovery/records.h"

#define FILE_DROPINS ".d"
#define FILE_LIVE ".live"

/*
 * May a file of this name have records, or be a service's? Not where it is no name of a file, nor one that editors and
 * tools use for files that are not meant.
 */
bool file_name_is_meant(const char *name);
bool file_name_ends_in(const char *name, const char *ending);

struct file_service;

/* The name is file_name_is_meant(), the directory is borrowed. Nothing is read yet. */
struct file_service *file_service_new(const char *directory, const char *name);
void file_service_free(struct file_service *files); /* NULL is fine */

/* The path of the directory of drop-ins, whether or not there is one. It is to be watched before it is read. */
const char *file_service_dropins(const struct file_service *files);

/* Something is to be read again: the service's own file; a drop-in, or with NULL all of them. */
void file_service_touch_own(struct file_service *files);
void file_service_touch_dropin(struct file_service *files, const char *name);
/* The same, but only where it could not be read before: its mode may have changed. Returns whether that is so. */
bool file_service_retry_own(struct file_service *files);
bool file_service_retry_dropin(struct file_service *files, const char *name);
/* Touches all that is another than what was read, but not what is just being written; returns whether there is any. */
bool file_service_compare(struct file_service *files);

/*
 * Reads what was touched. Returns what all files together say, until the next call; nothing at all is no endpoints.
 * The service's own file, if it was there and is missing, still counts: until it is forgotten. NULL: nothing else is
 * there, so there is nothing new to say.
 */
const struct records *file_service_read(struct file_service *files);
bool file_service_is_missing(const struct file_service *files); /* that is so now */
void file_service_forget(struct file_service *files);

/* Of what was written last; zeroed where there is nothing. */
struct file_stamp file_service_stamp(const struct file_service *files);

#endif
