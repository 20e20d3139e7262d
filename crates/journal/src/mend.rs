//! Mending: makes the disk as the survey says it is.
//!
//! Cuts the torn tail, syncs what recovery read before anybody trusts it, and finishes what a
//! crash interrupted. Judges nothing: that is [`crate::recovery`]'s.

use std::{io, path::Path, sync::Arc};

use crate::{
    OpenError,
    file::{OpenMode, Storage, StorageFile, write_all_at},
    reader::SegmentReader,
    recovery::{Survey, damaged},
    segment::{Place, zero},
};

/// What [`mend`] hands to the log that opens.
pub(crate) struct Mended {
    pub(crate) file: Arc<dyn StorageFile>,
    pub(crate) spare: Option<(Place, Arc<dyn StorageFile>)>,
}

/// Makes the disk as the survey says it is: tail cut, what was read synced, leftovers gone.
/// Safe to be interrupted anywhere: the next survey comes to the same judgement.
pub(crate) fn mend(
    storage: &dyn Storage,
    dir: &Path,
    survey: &mut Survey,
) -> Result<Mended, OpenError> {
    let mut files = Vec::new();
    for (i, place) in survey.places.iter().enumerate().skip(survey.tail) {
        let path = place.path(dir);
        let file = storage
            .open(&path, OpenMode::ReadWrite)
            .map_err(OpenError::io("open", &path))?;
        let dirty = survey.dirty.iter().find(|d| d.0 == i).map(|d| (d.1, d.2));
        mend_segment(&*file, *place, dirty).map_err(OpenError::io("repair the tail of", &path))?;
        files.push((*place, file));
    }
    rewrite_last(storage, dir, survey)?;
    for (place, file) in &files {
        file.fdatasync()
            .map_err(OpenError::io("sync", place.path(dir)))?;
    }
    storage.sync_dir(dir).map_err(OpenError::io("sync", dir))?;
    for name in &survey.leftovers {
        let path = dir.join(name);
        storage
            .unlink(&path)
            .map_err(OpenError::io("remove", &path))?;
    }
    let mut files = files.into_iter();
    let Some((_, file)) = files.next() else {
        return Err(damaged(0, dir, "there is no segment to write to"));
    };
    let spare = files.next();
    for (place, _) in files {
        let path = place.path(dir);
        storage
            .unlink(&path)
            .map_err(OpenError::io("remove", &path))?;
    }
    survey.places.truncate(survey.tail + 1);
    Ok(Mended { file, spare })
}

/// Zeros the cut bytes, so that nothing stale is ever taken for a frame, and restores the length.
fn mend_segment(file: &dyn StorageFile, place: Place, dirty: Option<(u64, u64)>) -> io::Result<()> {
    if let Some((from, to)) = dirty {
        zero(file, from - place.base, to - place.base, &mut || true)?;
    }
    let size = file.size()?;
    if size < place.size {
        file.allocate(place.size)?;
        zero(file, size, place.size, &mut || true)?;
    }
    Ok(())
}

/// Writes the last good frame once more before it is synced: after a failed sync and a restart
/// of the process alone, its pages may be called clean although the disk never took them.
fn rewrite_last(storage: &dyn Storage, dir: &Path, survey: &Survey) -> Result<(), OpenError> {
    let Some((i, header)) = survey
        .last
        .filter(|(_, h)| h.end() > survey.meta.durable_floor)
    else {
        return Ok(());
    };
    let Some(place) = survey.places.get(i).copied() else {
        return Ok(());
    };
    let path = place.path(dir);
    let file = storage
        .open(&path, OpenMode::ReadWrite)
        .map_err(OpenError::io("open", &path))?;
    let again = || -> io::Result<()> {
        let mut reader = SegmentReader::new(&*file, place, survey.meta.log_id, 0);
        let bytes = reader
            .bytes(header.position, header.span() as usize)?
            .to_vec();
        write_all_at(&*file, &bytes, header.position - place.base)?;
        file.fdatasync()
    };
    again().map_err(OpenError::io("sync", &path))
}
