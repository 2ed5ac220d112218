"""Classify images or the frames of a camera."""

import sys

import numpy as np

from board import command, files, pictures, typed
from board.files import BundleError

# NVIDIA's GStreamer source for cameras on the CSI connector; old frames are dropped.
CSI = (
    "nvarguscamerasrc ! video/x-raw(memory:NVMM), width=1280, height=720, framerate=30/1 ! nvvidconv ! "
    "video/x-raw, format=BGRx ! videoconvert ! video/x-raw, format=BGR ! appsink drop=true max-buffers=1"
)


def main():
    arguments = _arguments()
    bundle = files.opened()
    labels = files.labels(bundle)
    runner = command.loaded(arguments, bundle)

    def classify(name, pixels):
        scores = runner.run(pixels[None])[0]
        best = np.argsort(-scores, kind="mergesort")[: arguments.top]
        print(f"{name}: {', '.join(f'{labels[place]} {scores[place]:.4g}' for place in best)}", flush=True)

    if arguments.camera is not None:
        for number, frame in enumerate(_frames(arguments.camera)):
            classify(f"frame {number}", pictures.of_frame(frame, bundle["picture"]))
        return
    problems = 0
    for path in arguments.images:
        try:
            classify(path, pictures.read(path, bundle["picture"]))
        except pictures.PictureError as error:
            problems += 1
            print(f"error: {error}", file=sys.stderr)
    if problems:
        sys.exit(1)
    print(f"next: {typed.told('infer.py', '--camera', '0', engine=arguments.engine, cpu=arguments.cpu)}")


def _frames(camera):
    """Yield (height, width, 3) BGR frames until the stream ends."""
    try:
        import cv2
    except ImportError as error:
        raise BundleError(
            f"reading a camera needs cv2, which cannot be imported ({error}); install JetPack's OpenCV"
        ) from None
    if camera == "csi":
        capture = cv2.VideoCapture(CSI, cv2.CAP_GSTREAMER)
    else:
        capture = cv2.VideoCapture(int(camera) if camera.isdigit() else camera)
    if not capture.isOpened():
        raise BundleError(f"OpenCV cannot open the camera {camera}; v4l2-ctl --list-devices lists the cameras")
    try:
        success, frame = capture.read()
        if not success:
            raise BundleError(f"the camera {camera} gives no image; does another program use it?")
        while success:
            yield frame
            success, frame = capture.read()
    finally:
        capture.release()


def _arguments():
    parser = command.parser(__doc__)
    parser.add_argument("images", nargs="*", metavar="IMAGE", help="image file, such as PNG or JPEG")
    parser.add_argument(
        "--camera", help="number of a USB camera, csi, or a video or stream that OpenCV opens; stop with Ctrl-C"
    )
    parser.add_argument("--top", type=command.positive, default=5, help="number of classes to print (default: 5)")
    arguments = parser.parse_args()
    if bool(arguments.images) == (arguments.camera is not None):
        parser.error("give images or --camera")
    return arguments


if __name__ == "__main__":
    command.run(main)
