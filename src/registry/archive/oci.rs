//! An image layout in a tar file, as `podman save --format oci-archive` writes it (OCI image-spec, image-layout.md).

use super::super::limits;
use super::super::manifest::{Descriptor, Hash, Manifest, Parsed, verify};
use super::region::Region;
use super::{Archive, Source, Unfit, named, unfit};
use std::io::Read;

pub(super) fn read(source: &Source) -> Result<Archive, Unfit> {
    let index = source.small("index.json", limits::MANIFEST)?;
    let index = Manifest::read(index, "").map_err(|why| Unfit::Said(format!("index.json is {why}")))?;
    let Parsed::Index { manifests } = index.parsed else {
        return unfit("index.json is no index");
    };
    let [top] = &manifests[..] else {
        return unfit(format!("it holds {} images; one is expected", manifests.len()));
    };
    let top = manifest(source, top)?;
    let mut children = Vec::new();
    if let Parsed::Index { manifests } = &top.parsed {
        for child in manifests.iter().filter(|child| !child.is_foreign()) {
            let child = manifest(source, child)?;
            if matches!(child.parsed, Parsed::Index { .. }) {
                return unfit("it holds an index within an index");
            }
            children.push(child);
        }
    }
    let mut blobs = Vec::new();
    for descriptor in children.iter().chain([&top]).flat_map(named) {
        if descriptor.is_foreign() {
            continue;
        }
        let region = region(source, descriptor)?;
        blobs.push(source.blob(descriptor.clone(), &region));
        check(region, descriptor)?;
    }
    Ok(Archive {
        top,
        children,
        blobs,
        _scratch: None,
    })
}

fn region(source: &Source, descriptor: &Descriptor) -> Result<Region, Unfit> {
    let digest = &descriptor.digest;
    let region = source.region(&format!("blobs/{}/{}", digest.algorithm(), digest.hex()))?;
    if region.len() != descriptor.size {
        return unfit(format!(
            "{digest} has {} bytes in it and not {}",
            region.len(),
            descriptor.size
        ));
    }
    Ok(region)
}

fn manifest(source: &Source, descriptor: &Descriptor) -> Result<Manifest, Unfit> {
    let mut region = region(source, descriptor)?;
    if region.len() > limits::MANIFEST {
        return unfit(format!("{} is too long for a manifest", descriptor.digest));
    }
    let mut bytes = Vec::new();
    region.read_to_end(&mut bytes)?;
    verify("a manifest", &descriptor.digest, &bytes).map_err(|_| wrong(descriptor))?;
    let mut manifest = Manifest::read(bytes, &descriptor.media_type).map_err(Unfit::Said)?;
    manifest.digest = descriptor.digest.clone();
    Ok(manifest)
}

fn check(mut region: Region, descriptor: &Descriptor) -> Result<(), Unfit> {
    let mut hash = Hash::like(&descriptor.digest);
    let mut buffer = vec![0; super::CHUNK];
    loop {
        match region.read(&mut buffer)? {
            0 => break,
            n => hash.update(&buffer[..n]),
        }
    }
    if hash.finish() == descriptor.digest {
        Ok(())
    } else {
        Err(wrong(descriptor))
    }
}

fn wrong(descriptor: &Descriptor) -> Unfit {
    Unfit::Said(format!("what it has as {} is something else", descriptor.digest))
}
